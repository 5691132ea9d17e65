"""Bodies that AI Horde's clients send, as they may be: every field with its type and its limits.

`null` is as good as a field that is left out: some clients name every field that they know. What is not known here is
kept by name, and told.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from horde.web_door.core.refusals import Refusal

B = TypeVar("B", bound="Body")
MOST_KUDOS = 10**12


class Body(BaseModel):
    """A body, or an object in one."""

    model_config = ConfigDict(extra="allow", frozen=True)


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_text)]
"""A text, or a number that is taken for one."""


class LoraBody(Body):
    """A LoRA."""

    name: str = Field(min_length=1, max_length=255)
    model: float = Field(default=1.0, ge=-5, le=5)
    clip: float | None = Field(default=None, ge=-5, le=5)
    inject_trigger: str | None = Field(default=None, max_length=200)
    is_version: bool = False


class TextualInversionBody(Body):
    """A textual inversion."""

    name: str = Field(min_length=1, max_length=255)
    inject_ti: str | None = None
    strength: float | None = Field(default=None, ge=-5, le=5)


class ParamsBody(Body):
    """How to paint."""

    width: int = 512
    height: int = 512
    steps: int = 30
    n: int = Field(default=1, ge=1, le=20)
    sampler_name: str | None = None
    cfg_scale: float | None = Field(default=None, ge=0, le=100)
    karras: bool | None = None
    seed: Text | None = None
    seed_variation: int | None = None
    denoising_strength: float | None = Field(default=None, ge=0, le=1)
    hires_fix: bool = False
    hires_fix_denoising_strength: float | None = Field(default=None, ge=0, le=1)
    post_processing: list[str] = []
    facefixer_strength: float | None = None
    tiling: bool = False
    transparent: bool = False
    clip_skip: int = Field(default=1, ge=1, le=12)
    control_type: str | None = None
    image_is_control: bool = False
    return_control_map: bool = False
    loras: list[LoraBody] = []
    tis: list[TextualInversionBody] = []
    workflow: str | None = None
    extra_texts: list[Any] = []
    special: dict[str, Any] | None = None


class GenerateBody(Body):
    """What is asked for."""

    prompt: str | None = None
    params: ParamsBody = ParamsBody()
    models: list[str] | None = None
    nsfw: bool | None = None
    censor_nsfw: bool | None = None
    trusted_workers: bool = False
    slow_workers: bool = True
    workers: list[str] = []
    worker_blacklist: bool = False
    source_image: str | None = None
    source_processing: str | None = None
    source_mask: str | None = None
    extra_source_images: list[Any] = []
    r2: bool = True
    shared: bool = False
    dry_run: bool = False
    proxied_account: str | None = None
    allow_downgrade: bool = False
    webhook: str | None = None
    style: str | None = None


class PopBody(Body):
    """What a worker can do, and that it wants work."""

    name: str = Field(min_length=1, max_length=100)
    models: list[str] = []
    max_pixels: int = Field(default=262_144, ge=4_096, le=1 << 40)
    bridge_agent: str = "unknown:0:unknown"
    threads: int = Field(default=1, ge=1, le=50)
    amount: int = Field(default=1, ge=1, le=20)
    allow_img2img: bool = True
    allow_painting: bool = True
    allow_post_processing: bool = True
    allow_lora: bool = False
    extra_slow_worker: bool = False


class MetadataBody(Body):
    """One thing to be told of a picture."""

    type: str = ""
    value: str = ""
    ref: Text | None = None


class SubmitBody(Body):
    """A picture that a worker has made, or why it has not."""

    id: str
    generation: str = ""
    seed: int | None = None
    state: str = "ok"
    censored: bool = False
    gen_metadata: list[MetadataBody] = []


class TransferBody(Body):
    """A gift."""

    username: str
    amount: float = Field(le=MOST_KUDOS)


class WorkerBody(Body):
    """What to change of a worker."""

    maintenance: bool | None = None
    maintenance_msg: str | None = None
    paused: bool | None = None
    info: str | None = Field(default=None, max_length=1000)
    name: str | None = None
    team: str | None = None


class SharedKeyBody(Body):
    """A key for others."""

    kudos: int | None = Field(default=None, ge=-1, le=MOST_KUDOS)
    expiry: int | None = None
    name: str | None = None
    max_image_pixels: int | None = Field(default=None, ge=-1, le=1 << 40)
    max_image_steps: int | None = Field(default=None, ge=-1, le=500)
    max_text_tokens: int | None = None


def read(kind: type[B], body: object) -> B:
    """The body, if it is one of this kind; raises Refusal that names what is wrong with it."""
    if not isinstance(body, dict):
        raise Refusal(400, "BadRequest", "The body must be a JSON object.")
    try:
        return kind.model_validate(_given(body))
    except ValidationError as error:
        wrong = {".".join(str(part) for part in problem["loc"]): problem["msg"] for problem in error.errors()[:32]}
        raise Refusal(400, "BadRequest", "Input payload validation failed", wrong) from None


def unknown_fields(body: Body, root: str = "") -> list[str]:
    """The paths of what was sent and is not known here."""
    names = [f"{root}{name}" for name in body.model_extra or {}]
    for name in type(body).model_fields:
        value = getattr(body, name)
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, Body):
                where = f"{name}[{index}]" if isinstance(value, list) else name
                names += unknown_fields(item, f"{root}{where}.")
    return names


def _given(value: Any) -> Any:
    """Without what is null."""
    if isinstance(value, dict):
        return {name: _given(item) for name, item in value.items() if item is not None}
    return [_given(item) for item in value] if isinstance(value, list) else value
