"""Post-processors behind their port: what is named, what is tried, what becomes of a picture."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from horde.worker_agent.core.jobs import Deviation, DeviationKind, Feature, Making
from horde.worker_agent.core.postprocessors import KINDS, ToolFile, tool_files
from horde.worker_agent.painters import faces, upscaling
from horde.worker_agent.painters.finishing import CannotFinish, Finishing
from horde.worker_agent.painters.one_pass import Painting
from horde.worker_agent.painters.pictures import encode_webp
from horde.worker_agent.painters.steps import Stop
from horde.worker_agent.settings import WorkerSettings

DIGEST = hashlib.sha256(b"weights").hexdigest()
PICTURE = Image.merge(
    "RGB",
    (Image.linear_gradient("L"), Image.linear_gradient("L").rotate(90), Image.radial_gradient("L")),
).resize((160, 96))
ENLARGED: Callable[..., Any] = lambda image, look: image.resize((2 * image.width, 2 * image.height))  # noqa: E731
CUT_OUT: Callable[..., Any] = lambda image, look: image.convert("RGB").convert("RGBA")  # noqa: E731
AT = [(60.0, 40.0), (80.0, 40.0), (70.0, 52.0), (62.0, 60.0), (78.0, 60.0)]
"""A face of some 80 pixels in the middle of the picture."""


def opener(tool: Callable[..., Any]) -> Callable[..., Any]:
    return lambda file, device: tool


WORKING = {
    "upscaler": opener(ENLARGED),
    "background": opener(CUT_OUT),
    "face-finder": opener(lambda image, look: [AT]),
    "face-repair": opener(lambda image, look: ImageChops.invert(image)),
}


def ready(tmp_path: Path, kinds: Mapping[str, Callable[..., Any]] = WORKING) -> Finishing:
    files = []
    for kind in kinds:
        path = tmp_path / f"{kind}{KINDS[kind]}"
        path.write_bytes(b"weights")
        files.append(ToolFile(kind, path, DIGEST))
    finishing = Finishing(files, kinds)
    finishing.load("cpu")
    return finishing


def finish(finishing: Finishing, *names: str) -> Painting:
    return finishing.finish(Painting(PICTURE, (), Making()), names, lambda: None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"upscaler=/m/x4.pth#{DIGEST}", "only .safetensors is taken"),
        ("upscaler=/m/x4.safetensors", "64 hexadecimal digits"),
        (f"upscaler=#{DIGEST}", "64 hexadecimal digits"),
        (f"enlarger=/m/x4.safetensors#{DIGEST}", "is none of"),
        (f"background=/a.onnx#{DIGEST},background=/b.onnx#{DIGEST}", "twice"),
    ],
)
def test_a_file_without_its_digest_or_of_a_kind_that_runs_is_no_setting(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        tool_files(text)


def test_files_are_read_with_their_digests() -> None:
    assert tool_files("") == ()
    named = tool_files(f"upscaler=/m/x#4.safetensors#{DIGEST}, background=/m/u2net.onnx#{DIGEST}")
    assert named == (
        ToolFile("upscaler", Path("/m/x#4.safetensors"), DIGEST),
        ToolFile("background", Path("/m/u2net.onnx"), DIGEST),
    )


def test_in_a_file_they_may_be_a_table() -> None:
    table: Any = {"upscaler": f"/m/x4.safetensors#{DIGEST}", "background": f"/m/u2net.onnx#{DIGEST}"}
    named = tool_files(WorkerSettings(api_key="x", name="a", post_processors=table).post_processors)  # type: ignore[arg-type]
    assert [file.kind for file in named] == ["upscaler", "background"]
    with pytest.raises(ValueError, match="64 hexadecimal"):
        WorkerSettings(api_key="x", name="a", post_processors="upscaler=/m/x4.safetensors")  # type: ignore[arg-type]


def test_a_feature_is_offered_when_all_of_it_is_there(tmp_path: Path) -> None:
    assert ready(tmp_path).features == {Feature.UPSCALING, Feature.POST_PROCESSING}
    assert ready(tmp_path, {"upscaler": WORKING["upscaler"]}).features == {Feature.UPSCALING}
    assert ready(tmp_path, {"background": WORKING["background"]}).features == set()
    assert Finishing().features == set()


def test_another_file_than_the_named_one_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"others")
    opened: list[str] = []
    finishing = Finishing(
        [ToolFile("upscaler", path, DIGEST), ToolFile("background", tmp_path / "gone.onnx", DIGEST)],
        {kind: lambda file, device: opened.append(file.kind) for kind in KINDS},  # type: ignore[misc,return-value]
    )
    finishing.load("cpu")
    assert not opened
    assert "is not the file whose sha256 was named" in finishing.problems["upscaler"]
    assert "gone.onnx" in finishing.problems["background"]
    assert not finishing.features


def test_what_fails_at_a_small_picture_is_told_and_not_offered(tmp_path: Path) -> None:
    def fails(image: Image.Image, look: object) -> Image.Image:
        raise RuntimeError("no such operator")

    finishing = ready(tmp_path, {"upscaler": opener(fails)})
    assert "no such operator" in finishing.problems["upscaler"]
    assert not finishing.features
    assert "no upscaler" in finishing.missing(["FACE_REPAIR", "UPSCALE_2X"])


def test_everything_is_done_in_order_and_the_size_is_exact(tmp_path: Path) -> None:
    done = finish(ready(tmp_path), "STRIP_BACKGROUND", "UPSCALE_4X", "FACE_REPAIR")
    assert (done.image.size, done.image.mode, done.deviations) == ((640, 384), "RGBA", ())
    with Image.open(io.BytesIO(encode_webp(done.image, quality=90))) as written:
        assert (written.size, written.mode) == ((640, 384), "RGB")
    done.image.putalpha(Image.linear_gradient("L").resize(done.image.size))
    with Image.open(io.BytesIO(encode_webp(done.image, quality=90))) as written:
        assert written.mode == "RGBA"


def test_what_is_not_here_is_left_out_and_named_but_a_size_cannot_be(tmp_path: Path) -> None:
    nothing = Finishing()
    left = finish(nothing, "FACE_REPAIR")
    asked = "FACE_REPAIR: it is not to be had here"
    assert left.deviations == (Deviation(DeviationKind.OMITTED, "post_processors[0]", asked),)
    assert left.image is PICTURE
    with pytest.raises(CannotFinish, match="not to be had"):
        finish(nothing, "UPSCALE_2X")


def test_what_fails_at_a_picture_is_named_and_offered_no_more(tmp_path: Path) -> None:
    fails = False

    def sometimes(image: Image.Image, look: object) -> Image.Image:
        if fails:
            raise RuntimeError("out of luck")
        return image.convert("RGBA")

    finishing = ready(tmp_path, WORKING | {"background": opener(sometimes)})
    assert Feature.POST_PROCESSING in finishing.features
    fails = True
    left = finish(finishing, "STRIP_BACKGROUND")
    assert [(found.kind, found.field) for found in left.deviations] == [(DeviationKind.OMITTED, "post_processors[0]")]
    assert finishing.features == {Feature.UPSCALING}
    assert "out of luck" in finishing.problems["background"]


def test_a_black_picture_is_never_what_comes_out(tmp_path: Path) -> None:
    black = opener(lambda image, look: Image.new("RGB", (2 * image.width, 2 * image.height)))
    finishing = ready(tmp_path, {"upscaler": black})
    with pytest.raises(CannotFinish, match="one colour"):
        finish(finishing, "UPSCALE_2X")


def test_a_cancelled_job_stops_between_two_tiles() -> None:
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise Stop

    with pytest.raises(Stop):
        upscaling.in_tiles(PICTURE, 32, 2, lambda part: part.resize((2 * part.width, 2 * part.height)), look)


@pytest.mark.parametrize("tile", [32, 64, 256])
def test_tiles_make_what_the_whole_makes(tile: int) -> None:
    def enlarge(part: Image.Image) -> Image.Image:
        return part.resize((2 * part.width, 2 * part.height), Image.Resampling.BICUBIC)

    tiled = upscaling.in_tiles(PICTURE, tile, 2, enlarge, lambda: None)
    assert tiled.tobytes() == enlarge(PICTURE).tobytes()


def test_a_face_is_turned_upright_repaired_and_put_back_where_it_was() -> None:
    turned = [(92.0, 30.0), (92.0, 50.0), (80.0, 40.0), (72.0, 32.0), (72.0, 48.0)]
    seen: list[Image.Image] = []

    def nothing_done(face: Image.Image, look: object) -> Image.Image:
        seen.append(face)
        return face

    same = faces.repaired(PICTURE, lambda image, look: [turned], nothing_done, lambda: None)
    assert seen[0].size == (faces.FACE_SIDE, faces.FACE_SIDE)
    assert max(ImageStat.Stat(ImageChops.difference(same, PICTURE)).mean) < 1
    # The left eye is where such networks look for it.
    there = tuple(map(round, faces.UPRIGHT[0]))
    was, came = PICTURE.getpixel((92, 30)), seen[0].getpixel(there)  # type: ignore[arg-type]
    assert all(abs(one - other) < 6 for one, other in zip(was, came, strict=True))  # type: ignore[arg-type]

    changed = faces.repaired(
        PICTURE, lambda image, look: [turned], lambda face, look: ImageChops.invert(face), lambda: None
    )
    assert changed.getpixel((80, 40)) != PICTURE.getpixel((80, 40))
    assert changed.getpixel((2, 2)) == PICTURE.getpixel((2, 2))
    assert faces.repaired(PICTURE, lambda image, look: [], nothing_done, lambda: None).tobytes() == PICTURE.tobytes()
