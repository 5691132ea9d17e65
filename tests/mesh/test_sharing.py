"""The sharing table of the design, row by row, through the running mesh; the buckets are listed afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

import pytest
from tests.mesh.backends import DEPLOYED, EMBEDDED
from tests.mesh.probing import PRIVATE, SHARED, Books, Buckets, assert_done_and_paid, only, png, small

from horde.api.generation.v1.generation_pb2 import NoticeCode
from horde.api.job.v1.job_pb2 import Control, Placement
from horde.cli.local.mesh import LocalMesh
from horde.clients.client import HordeClient

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("mesh", [EMBEDDED, DEPLOYED], indirect=True, scope="module"),
]

NONE: Final = frozenset[NoticeCode.ValueType]()
ASKED = frozenset({NoticeCode.NOTICE_CODE_SHARED_ASKED})
HAS_INPUT = frozenset({NoticeCode.NOTICE_CODE_NOT_SHARED_HAS_INPUT})
ANONYMOUS = frozenset({NoticeCode.NOTICE_CODE_SHARED_ANONYMOUS})
PLACEMENT_NOTICES = ASKED | HAS_INPUT | ANONYMOUS


@dataclass(frozen=True)
class Row:
    who: str
    inputs: str
    share: bool
    placement: Placement.ValueType
    tax_mkudos: int
    notices: frozenset[NoticeCode.ValueType]

    def __str__(self) -> str:
        return f"{self.who}-{self.inputs}-{'share' if self.share else 'keep'}"


INPUTS = ("source", "mask", "control")
ROWS = [
    Row("registered", "text", False, PRIVATE, 3000, NONE),
    Row("registered", "text", True, SHARED, 1000, ASKED),
    *(Row("registered", kind, False, PRIVATE, 3000, HAS_INPUT) for kind in INPUTS),
    *(Row("registered", kind, True, PRIVATE, 3000, HAS_INPUT) for kind in INPUTS),
    Row("anonymous", "text", False, SHARED, 1000, ANONYMOUS),
    Row("anonymous", "text", True, SHARED, 1000, ANONYMOUS),
    *(Row("anonymous", kind, False, PRIVATE, 3000, HAS_INPUT) for kind in INPUTS),
    *(Row("anonymous", kind, True, PRIVATE, 3000, HAS_INPUT) for kind in INPUTS),
]


@dataclass
class Played:
    """What went in and what came out, for the look into the buckets at the end."""

    private: list[bytes] = field(default_factory=list)
    shared: dict[str, bytes] = field(default_factory=dict)
    inputs: list[bytes] = field(default_factory=list)


@pytest.fixture(scope="module")
def played(mesh: LocalMesh) -> Played:
    """Of one mesh."""
    assert mesh.processes
    return Played()


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_a_row(
    row: Row, mesh: LocalMesh, books: Books, account: HordeClient, nobody: HordeClient, played: Played
) -> None:
    horde = account if row.who == "registered" else nobody
    spec = small(f"row {row}", share=row.share)
    if row.inputs != "text":
        colours = {"source": "red", "mask": "white", "control": "green"}
        content = png(colour=colours[row.inputs])
        played.inputs.append(content)
        put = await horde.images.put(content)
        if row.inputs == "control":
            spec.job.image.controls.append(Control(image=put, type="canny"))
        else:
            spec.job.image.source_image.CopyFrom(put)
        if row.inputs == "mask":
            spec.job.image.mask.CopyFrom(await horde.images.put(png(colour="black")))

    quote = await horde.generations.quote(spec)
    assert quote.placement == row.placement
    assert quote.per_image.tax_mkudos == row.tax_mkudos
    assert {notice.code for notice in quote.notices} & PLACEMENT_NOTICES == row.notices
    assert all(notice.text for notice in quote.notices)

    async with horde.generation(spec) as session:
        assert session.generation.quote.placement == row.placement
        assert session.generation.quote.per_image == quote.per_image
        generation = await session.finish()
        await assert_done_and_paid(books, generation)
        image = only(generation)
        assert image.placement == row.placement
        content = await session.fetch(image)

    assert Buckets(mesh).where(content) == [row.placement]
    if row.placement == SHARED:
        played.shared[image.job_id] = content
    else:
        played.private.append(content)


async def test_the_shared_bucket_holds_the_shared_images_with_their_consent_and_nothing_else(
    mesh: LocalMesh, played: Played
) -> None:
    buckets = Buckets(mesh)
    assert len(played.shared) == 3
    records = {file.name: file for file in buckets.shared if file.name.endswith(".json")}
    images = [file for file in buckets.shared if file.name.startswith("images/") and file.name not in records]
    assert len(images) == len(records) == len(played.shared)
    for job_id, content in played.shared.items():
        (stored,) = [image for image in images if image.holds(content)]
        assert stored.read() == content
        (record,) = [record for name, record in records.items() if job_id in name]
        said = json.dumps(json.loads(record.read()))
        assert "2026-11" in said
        # What was left to the model stands there as the worker resolved it.
        assert json.loads(record.read())["making"] == {"steps": 4, "engine": "scripted"}
    for content in (*played.private, *played.inputs):
        assert SHARED not in buckets.where(content)


async def test_inputs_are_gone_when_their_generations_have_ended(mesh: LocalMesh, played: Played) -> None:
    # They stay for their hour, private; nobody's input was ever copied elsewhere.
    for content in set(played.inputs):
        assert set(Buckets(mesh).where(content)) <= {PRIVATE}
    assert [file.name for file in Buckets(mesh).private if file.name.startswith("quarantine/")] == []


async def test_the_ledger_sums_to_zero_afterwards(books: Books) -> None:
    await books.assert_balanced()
