"""Post-processors by the packages themselves, on tiny models. Skipped without the extra `post-processing`."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.testkit.loopback import ManualClock
from horde.testkit.tiny_models import build
from horde.testkit.worker_agent import FakeMesh
from horde.worker_agent.core import measuring
from horde.worker_agent.core.jobs import Feature, Making, Picture, RefusalReason, Refused
from horde.worker_agent.core.postprocessors import ToolFile
from horde.worker_agent.painters.diffusers_studio import Studio, StudioSettings
from horde.worker_agent.painters.finishing import Finishing
from horde.worker_agent.painters.models import find_models
from horde.worker_agent.painters.one_pass import Painting
from horde.worker_agent.painters.scripted import ScriptedPainter
from horde.worker_agent.running import working
from horde.worker_agent.settings import WorkerSettings

pytestmark = [pytest.mark.filterwarnings("ignore")]

PICTURE = Picture("sd15", "a red star", 64, 72, steps=2, seed=1, post_processors=("UPSCALE_2X",))
MEAN_OF_COLOURS = base64.b64decode(
    "CAgSADp8CjMKAmluEgNvdXQiClJlZHVjZU1lYW4qCwoEYXhlc0ABoAEHKg8KCGtlZXBkaW1zGAGgAQISBG1lYW5aHgoCaW4SGAoWCAESEgoCCAEK"
    "AggDCgMIwAIKAwjAAmIfCgNvdXQSGAoWCAESEgoCCAEKAggBCgMIwAIKAwjAAkIECgAQDQ=="
)
"""A model in ONNX's format, of U2-Net's shape: what is bright is the subject."""


class Unwatched:
    def stepped(self, step: int) -> None: ...

    def wants_preview(self) -> bool:
        return False

    def previewed(self, step: int, image: bytes) -> None: ...

    def cancelled(self) -> bool:
        return False


def named(kind: str, path: Path) -> ToolFile:
    return ToolFile(kind, path, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def upscaler(tmp_path: Path) -> ToolFile:
    """A random network of ESRGAN's shape, which makes four times as large."""
    if find_spec("spandrel") is None:
        pytest.skip("the package spandrel is not here: pip install 'horde-mesh[post-processing]'")
    torch: Any = import_module("torch")
    torch.manual_seed(1)
    shape = import_module("spandrel.architectures.ESRGAN.__arch.RRDB").RRDBNet
    network = shape(in_nc=3, out_nc=3, num_filters=8, num_blocks=1, scale=4)
    path = tmp_path / "x4.safetensors"
    import_module("safetensors.torch").save_file(network.state_dict(), path)
    return named("upscaler", path)


def studio(tmp_path: Path, *files: ToolFile) -> Studio:
    found = find_models(f"sd15={build('sd15', tmp_path / 'sd15')}", Path("unused"))
    opened = Studio(StudioSettings(found.models, threads=1, post_processors=files))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(measuring, "BENCHMARK_SIDE", 64)
        opened.load()
    return opened


def test_without_an_upscaler_no_enlarged_picture_is_offered_or_begun(tmp_path: Path) -> None:
    (tmp_path / "x4.safetensors").write_bytes(b"no weights")
    opened = studio(tmp_path, named("upscaler", tmp_path / "x4.safetensors"))
    assert Feature.UPSCALING not in opened.capabilities().models[0].features
    assert "upscaler" in opened.problems
    refused = opened.paint(PICTURE, {}, Unwatched())
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.MODEL_UNAVAILABLE


class Enlarging(ScriptedPainter):
    """Takes its time after the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.enlarged = asyncio.Event()

    async def paint(self, *what: Any) -> Any:
        work = await super().paint(*what)
        await self.enlarged.wait()
        return work


async def test_a_lease_is_kept_while_its_picture_is_enlarged_though_no_step_is_done(
    mesh: FakeMesh, settings: Callable[..., WorkerSettings]
) -> None:
    painter = Enlarging()
    async with working(settings(), painter, ManualClock()):
        await mesh.gateway.until(mesh.gateway.restatements)
        lent = mesh.assign(post_processors=[job_pb2.POST_PROCESSOR_UPSCALE_2X])
        uploading = generation_pb2.LEASE_STATE_UPLOADING
        await mesh.gateway.until(lambda: uploading in mesh.gateway.states(lent.lease_id))
        assert not mesh.router.opened
        painter.enlarged.set()
        await mesh.gateway.until(mesh.gateway.outcomes)
        plain = mesh.assign()
        await mesh.gateway.until(lambda: len(mesh.gateway.outcomes()) == 2)
        # It goes on its way by itself as ever.
        assert mesh.gateway.states(plain.lease_id)[-1] == uploading


def test_a_painted_picture_is_enlarged_to_the_size_of_its_grant(tmp_path: Path, upscaler: ToolFile) -> None:
    opened = studio(tmp_path, upscaler)
    assert not opened.problems
    assert Feature.UPSCALING in opened.capabilities().models[0].features
    sizes = {}
    for names in (("UPSCALE_2X",), ("UPSCALE_4X",), ("UPSCALE_2X", "UPSCALE_4X")):
        work = opened.paint(replace(PICTURE, post_processors=names), {}, Unwatched())
        assert isinstance(work, Painting)
        assert not work.deviations
        sizes[names] = work.image.size
    assert list(sizes.values()) == [(128, 144), (256, 288), (512, 576)]


def test_a_network_for_faces_is_no_upscaler_and_an_upscaler_mends_no_faces(upscaler: ToolFile) -> None:
    finishing = Finishing([replace(upscaler, kind="face-repair")])
    finishing.load("cpu")
    assert "is for SR, and FaceSR is wanted" in finishing.problems["face-repair"]


def test_what_is_behind_the_subject_becomes_transparent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("rembg") is None:
        pytest.skip("the package rembg is not here: pip install 'horde-mesh[post-processing]'")
    monkeypatch.setenv("U2NET_HOME", "elsewhere")
    path = tmp_path / "mean.onnx"
    path.write_bytes(MEAN_OF_COLOURS)
    finishing = Finishing([named("background", path)])
    finishing.load("cpu")
    assert not finishing.problems
    picture = Image.new("RGB", (96, 64), "black")
    picture.paste("white", (0, 0, 48, 64))
    done = finishing.finish(Painting(picture, (), Making()), ["STRIP_BACKGROUND"], lambda: None).image
    assert (done.size, done.mode) == ((96, 64), "RGBA")
    assert [done.getpixel(at)[3] for at in ((8, 32), (88, 32))] == [255, 0]  # type: ignore[index]
