"""Tiny models with random weights in the shapes of the families that people run, built by diffusers itself.

Each is a folder as its family's own `save_pretrained` writes it, of one or two megabytes; it paints coloured noise in
a few milliseconds a step. What a painter does with a shape is what it does with the family: the weights differ, the
code that runs does not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from horde.worker_agent.painters import tiny_pipeline
from horde.worker_agent.painters.quiet import hush

SEED = 20_261_126
WINDOW_T5 = 512


def build(shape: str, folder: Path) -> Path:
    """The folder of a model of this shape (a key of SHAPES), built if it is not there."""
    if not (folder / "model_index.json").is_file():
        hush(offline=True)
        import_module("torch").manual_seed(SEED)
        SHAPES[shape]().save_pretrained(folder, safe_serialization=True)
    return folder


def _modules() -> tuple[Any, Any]:
    return import_module("diffusers"), import_module("transformers")


def _clip_tokenizer() -> Any:
    return tiny_pipeline.clip_tokenizer()


def _clip(*, projection: bool = False, width: int = 32) -> Any:
    _, transformers = _modules()
    tokenizer = _clip_tokenizer()
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    kind = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    return kind(config)


def _t5(width: int = 32) -> tuple[Any, Any]:
    """A T5 encoder and a tokenizer that knows every printable ASCII letter, one token each."""
    _, transformers = _modules()
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -1.0), ("▁", -2.0)]
    pieces += [(chr(number), -3.0) for number in range(ord("!"), ord("~") + 1)]
    tokenizer = transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=WINDOW_T5)
    config = transformers.T5Config(
        vocab_size=len(pieces), d_model=width, d_kv=8, d_ff=64, num_layers=2, num_heads=4, is_encoder_decoder=False
    )
    return tokenizer, transformers.T5EncoderModel(config)


def _vae(channels: int = 4, **config: Any) -> Any:
    diffusers, _ = _modules()
    return diffusers.AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        norm_num_groups=8,
        sample_size=64,
        **config,
    )


def _unet(channels: int = 4, context: int = 32, **config: Any) -> Any:
    diffusers, _ = _modules()
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=context,
        attention_head_dim=4,
        norm_num_groups=8,
        **config,
    )


def _scheduler(kind: str, **config: Any) -> Any:
    diffusers, _ = _modules()
    trained = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
    return getattr(diffusers, kind)(**trained, **config)


def _stable_diffusion(scheduler: Any = None, channels: int = 4, kind: str = "StableDiffusionPipeline") -> Any:
    diffusers, _ = _modules()
    return getattr(diffusers, kind)(
        vae=_vae(),
        text_encoder=_clip(),
        tokenizer=_clip_tokenizer(),
        unet=_unet(channels),
        scheduler=scheduler or _scheduler("DDIMScheduler", clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _karras() -> Any:
    return _stable_diffusion(_scheduler("DPMSolverMultistepScheduler", use_karras_sigmas=True))


def _turbo() -> Any:
    return _stable_diffusion(_scheduler("EulerDiscreteScheduler", timestep_spacing="trailing"))


def _sdxl() -> Any:
    diffusers, _ = _modules()
    return diffusers.StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=_clip(),
        text_encoder_2=_clip(projection=True),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=_unet(
            context=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32,
            transformer_layers_per_block=1,
        ),
        scheduler=_scheduler("EulerDiscreteScheduler"),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def _sd3() -> Any:
    diffusers, _ = _modules()
    # It lays both CLIPs beside each other and T5 below them: T5 must be as wide as the two.
    tokenizer, t5 = _t5(64)
    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=32,
            patch_size=2,
            in_channels=16,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=64,
            caption_projection_dim=32,
            pooled_projection_dim=64,
            out_channels=16,
        ),
        vae=_vae(16, shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip(projection=True),
        text_encoder_2=_clip(projection=True),
        text_encoder_3=t5,
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        tokenizer_3=tokenizer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def _flux(*, guided: bool = True) -> Any:
    diffusers, _ = _modules()
    tokenizer, t5 = _t5()
    return diffusers.FluxPipeline(
        transformer=diffusers.FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=guided,
        ),
        vae=_vae(4, shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip(),
        text_encoder_2=t5,
        tokenizer=_clip_tokenizer(),
        tokenizer_2=tokenizer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=guided),
    )


def _schnell() -> Any:
    return _flux(guided=False)


def _pixart() -> Any:
    diffusers, _ = _modules()
    tokenizer, t5 = _t5()
    return diffusers.PixArtSigmaPipeline(
        transformer=diffusers.PixArtTransformer2DModel(
            sample_size=64,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_channels=32,
            in_channels=4,
            cross_attention_dim=32,
            out_channels=8,
            attention_bias=True,
            norm_num_groups=8,
        ),
        vae=_vae(),
        text_encoder=t5,
        tokenizer=tokenizer,
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )


def _inpainting() -> Any:
    return _stable_diffusion(channels=9, kind="StableDiffusionInpaintPipeline")


SHAPES: dict[str, Callable[[], Any]] = {
    "sd15": _stable_diffusion,
    "sd15-karras": _karras,
    "turbo": _turbo,
    "sdxl": _sdxl,
    "sd3": _sd3,
    "flux-dev": _flux,
    "flux-schnell": _schnell,
    "pixart": _pixart,
    "inpainting": _inpainting,
}


def lora_for(model: Path, file: Path) -> None:
    """Write a LoRA for the UNet or transformer of a model: a random change of its attention."""
    hush(offline=True)
    torch, diffusers = import_module("torch"), import_module("diffusers")
    peft: Any = import_module("peft")
    torch.manual_seed(SEED)
    name = "unet" if (model / "unet").is_dir() else "transformer"
    kind = json.loads((model / "model_index.json").read_text(encoding="utf-8"))[name][1]
    part = getattr(diffusers, kind).from_pretrained(model / name, local_files_only=True)
    config = peft.LoraConfig(r=2, lora_alpha=8, target_modules=["to_q", "to_k"], init_lora_weights=False)
    peft.inject_adapter_in_model(config, part, "made")
    weights = peft.get_peft_model_state_dict(part, adapter_name="made")
    file.parent.mkdir(parents=True, exist_ok=True)
    import_module("safetensors.torch").save_file({f"{name}.{key}": value for key, value in weights.items()}, file)


def embedding_for(model: Path, file: Path, vectors: int = 2) -> None:
    """Write a textual inversion for a model whose words are CLIP's: random, so that it is seen."""
    torch = import_module("torch")
    noise = torch.Generator("cpu").manual_seed(SEED)
    configs = [model / f"text_encoder{suffix}" / "config.json" for suffix in ("", "_2")]
    widths = [json.loads(path.read_text(encoding="utf-8"))["hidden_size"] for path in configs if path.is_file()]
    tensors = [torch.randn((vectors, width), generator=noise) for width in widths]
    names = ("clip_l", "clip_g") if len(tensors) > 1 else ("emb_params",)
    file.parent.mkdir(parents=True, exist_ok=True)
    import_module("safetensors.torch").save_file(dict(zip(names, tensors, strict=True)), file)


def control_for(model: Path, folder: Path) -> Path:
    """Write a ControlNet for a model of a shape that diffusers has ControlNets for: random, so that it is seen."""
    hush(offline=True)
    torch, diffusers = import_module("torch"), import_module("diffusers")
    name = "unet" if (model / "unet").is_dir() else "transformer"
    kind = json.loads((model / "model_index.json").read_text(encoding="utf-8"))[name][1]
    part = getattr(diffusers, kind).from_pretrained(model / name, local_files_only=True)
    torch.manual_seed(SEED)
    match kind:
        case "UNet2DConditionModel":
            net = diffusers.ControlNetModel.from_unet(part)
        case "SD3Transformer2DModel":
            net = diffusers.SD3ControlNetModel.from_transformer(
                part, num_layers=1, num_extra_conditioning_channels=0, load_weights_from_transformer=False
            )
        case "FluxTransformer2DModel":
            sizes = {"num_attention_heads": 2, "attention_head_dim": 16}
            net = diffusers.FluxControlNetModel.from_transformer(part, num_layers=1, num_single_layers=1, **sizes)
        case _:
            raise ValueError(f"there are no ControlNets for {kind}")
    for weight in net.parameters():
        # They are made to begin as nothing.
        if not bool(weight.any()):
            torch.nn.init.normal_(weight, std=0.3)
    net.save_pretrained(folder, safe_serialization=True)
    return folder
