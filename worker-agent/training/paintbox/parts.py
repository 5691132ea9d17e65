"""The model's parts: stock diffusers and transformers classes with our sizes, so that any pipeline loads them."""

from __future__ import annotations

import torch
from diffusers import AutoencoderTiny, DPMSolverMultistepScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

# The latent is the box average of 8 by 8 pixels, divided by the spread of such averages.
LATENT_FACTOR = 8
LATENT_STD = 0.59
TEXT_WIDTH = 128
TOKENS = 32
DECODER_WIDTH = 32


def build_text_encoder(vocabulary: int, bos: int, eos: int) -> CLIPTextModel:
    """Two layers are plenty for a grammar of a hundred words."""
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=TEXT_WIDTH,
        intermediate_size=256,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=eos,
    )
    model = CLIPTextModel(config)
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_(0, 0.5)
    return model


def build_unet(channels: tuple[int, int, int] = (40, 80, 128)) -> UNet2DConditionModel:
    """A small UNet that hears the words twice.

    Besides cross-attention, `addition_embed_type="text"` pools the words into the time embedding, and "scale_shift"
    lets that embedding steer every block. Which shape to paint then reaches each layer from the first step on.
    """
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
        time_embedding_dim=256,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
    )


def build_scheduler() -> DPMSolverMultistepScheduler:
    """Linear betas end in almost pure noise, so black and white grounds come out without any special flag."""
    return DPMSolverMultistepScheduler(
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
        final_sigmas_type="zero",
    )


def build_vae() -> AutoencoderTiny:
    """An encoder that is set rather than trained, and a decoder that starts as plain enlargement."""
    vae = AutoencoderTiny(
        latent_channels=4,
        encoder_block_out_channels=(4, 4, 4, 4),
        num_encoder_blocks=(0, 0, 0, 0),
        decoder_block_out_channels=(DECODER_WIDTH,) * 4,
        num_decoder_blocks=(5, 3, 1, 0),
    )
    _set_box_encoder(vae.encoder)
    _start_decoder(vae.decoder)
    return vae


@torch.no_grad()
def _set_box_encoder(encoder: nn.Module) -> None:
    convs = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    for index, conv in enumerate(convs):
        conv.weight.zero_()
        if conv.bias is not None:
            conv.bias.zero_()
        for channel in range(3):
            if conv.stride == (2, 2):
                conv.weight[channel, channel, 1:, 1:] = 0.25
            else:
                conv.weight[channel, channel, 1, 1] = 1.0 if index == 0 else 2.0 / LATENT_STD
        if index == len(convs) - 1 and conv.bias is not None:
            conv.bias[:3] = -1.0 / LATENT_STD


@torch.no_grad()
def _start_decoder(decoder: nn.Module) -> None:
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                module.bias.zero_()
    for module in decoder.modules():
        # A block's three convolutions are followed by its skip connection.
        if hasattr(module, "fuse"):
            last = [layer for layer in module.conv if isinstance(layer, nn.Conv2d)][-1]
            last.weight *= 0.2
            last.weight[:3] = 0
    convs = [layer for layer in decoder.layers if isinstance(layer, nn.Conv2d)]
    for index, conv in enumerate(convs):
        first, final = index == 0, index == len(convs) - 1
        conv.weight *= 0.7
        conv.weight[:3] *= 0.05 if final else 0.0
        for channel in range(3):
            conv.weight[channel, channel, 1, 1] = LATENT_STD / 2 if first else 1.0
            if first and conv.bias is not None:
                conv.bias[channel] = 0.5


def count_parameters(module: nn.Module) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in module.parameters())
