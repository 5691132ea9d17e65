"""Names of samplers and post-processors there, and what they are here."""

from __future__ import annotations

from collections.abc import Mapping

SAMPLERS: Mapping[str, str] = {
    "ddim": "DDIM",
    "k_euler": "EULER",
    "k_euler_a": "EULER_ANCESTRAL",
    "k_heun": "HEUN",
    "k_dpm_2": "DPM2",
    "k_dpm_2_a": "DPM2_ANCESTRAL",
    "k_dpmpp_2m": "DPMPP_2M",
    "lcm": "LCM",
}
"""The contract's sampler by what it is called there, in small letters."""
NEAR_SAMPLERS: Mapping[str, str] = {
    "plms": "DDIM",
    "k_lms": "EULER",
    "k_dpm_fast": "DPMPP_2M",
    "k_dpm_adaptive": "DPMPP_2M",
    "dpmsolver": "DPMPP_2M",
    "k_dpmpp_sde": "DPM2_ANCESTRAL",
    "k_dpmpp_2s_a": "DPM2_ANCESTRAL",
}
"""What is taken, with a warning, for a sampler that the contract does not have."""
SAMPLER_NAMES: Mapping[str, str] = {here: "DDIM" if there == "ddim" else there for there, here in SAMPLERS.items()}
"""What the contract's samplers are called there."""
DEFAULT_SAMPLER = "k_euler_a"
"""Of a worker there that is asked for the model's own default."""

POST_PROCESSORS: Mapping[str, str] = {
    "RealESRGAN_x2plus": "UPSCALE_2X",
    "RealESRGAN_x4plus": "UPSCALE_4X",
    "GFPGAN": "FACE_REPAIR",
    "strip_background": "STRIP_BACKGROUND",
}
NEAR_POST_PROCESSORS: Mapping[str, str] = {
    "RealESRGAN_x4plus_anime_6B": "UPSCALE_4X",
    "NMKD_Siax": "UPSCALE_4X",
    "4x_AnimeSharp": "UPSCALE_4X",
    "CodeFormers": "FACE_REPAIR",
    "GFPGANv1.3": "FACE_REPAIR",
    "RestoreFormer": "FACE_REPAIR",
}
POST_PROCESSOR_NAMES: Mapping[str, str] = {here: there for there, here in POST_PROCESSORS.items()}
CONTROL_TYPES = frozenset({"canny", "hed", "depth", "normal", "openpose", "seg", "scribble", "fakescribbles", "hough"})
