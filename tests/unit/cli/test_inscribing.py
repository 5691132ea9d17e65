"""How a picture was made, in its file: the pixels stay, any reader finds it, and it says enough to make it again."""

from __future__ import annotations

import io
import json
import re
from html import unescape

import pytest
from PIL import Image as Pillow

from horde.api.generation.v1.generation_pb2 import Generation, Image
from horde.cli.commands.inscribing import inscribed
from horde.clients.specs import generation_spec

PROMPT = "a <red> star & a fox ✶"


def painted(form: str, mode: str, **options: object) -> bytes:
    picture = Pillow.new(mode, (61, 40), (10, 20, 30, 128)[: len(mode)])
    picture.putpixel((3, 4), (200, 100, 50, 255)[: len(mode)])
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


PICTURES = {
    "png": painted("PNG", "RGB"),
    "png with alpha": painted("PNG", "RGBA"),
    "jpeg": painted("JPEG", "RGB"),
    "webp": painted("WEBP", "RGB"),
    "webp with alpha": painted("WEBP", "RGBA"),
    "lossless webp": painted("WEBP", "RGB", lossless=True),
    "lossless webp with alpha": painted("WEBP", "RGBA", lossless=True),
    "webp with a profile": painted("WEBP", "RGB", icc_profile=b"x" * 131),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pixels_stay_and_how_it_was_made_is_found(name: str) -> None:
    generation = Generation(generation_id="g", spec=generation_spec(PROMPT, seed=7, steps=4))
    image = Image(job_id="j", index=1, seed=8, worker_name="anna", sha256=b"\x01" * 32)
    before = PICTURES[name]
    after = inscribed(before, generation, image)
    with Pillow.open(io.BytesIO(before)) as old, Pillow.open(io.BytesIO(after)) as new:
        new.load()
        assert (new.mode, new.size, new.tobytes()) == (old.mode, old.size, old.tobytes())
        assert new.info.get("icc_profile") == old.info.get("icc_profile")
        packet = new.info.get("xmp") or new.info["XML:com.adobe.xmp"]
    text = packet.decode() if isinstance(packet, bytes) else packet
    assert f'default">{PROMPT.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}<' in text
    found = re.search("<dc:source>(.*)</dc:source>", text)
    assert found is not None
    facts = json.loads(unescape(found[1]))
    assert (facts["model"], facts["image"]["prompt"], facts["image"]["seed"]) == ("paintbox", PROMPT, "8")
    assert facts["sha256"] == "01" * 32


def test_what_has_no_place_for_it_stays_as_it_is() -> None:
    assert inscribed(b"GIF89a", Generation(), Image()) == b"GIF89a"
