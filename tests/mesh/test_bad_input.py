"""Bad input at the doors, through the SDK: a typed error, nothing held, nothing stored."""

from __future__ import annotations

import struct
import uuid
import zlib
from datetime import timedelta

import pytest
from tests.mesh.probing import Books, Buckets, png, small

from horde.api.generation.v1.generation_pb2 import GenerationSpec
from horde.api.job.v1.job_pb2 import Control, InputImage, Lora
from horde.cli.conform.cases.reading import read_cases
from horde.cli.conform.drivers import PYTHON_DRIVER, driving
from horde.cli.conform.running import hold
from horde.cli.conform.suite import needs_met
from horde.cli.local.mesh import LocalMesh
from horde.clients.client import HordeClient
from horde.clients.credentials import AnonymousToken, ApiKey, Credential
from horde.clients.errors import (
    ApiKeyUnknown,
    CredentialsMalformed,
    InputUnusable,
    InvalidField,
    NotAnImage,
    RequestConflict,
    TooLarge,
)
from horde.clients.retrying import IMPATIENT
from horde.clients.specs import DEFAULT_MODEL
from horde.services.errors import InvalidArgument, ResourceExhausted, ServiceError, Unauthenticated
from horde.testkit.waiting import ticks

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_PUT = InputImage(input_id=str(uuid.uuid4()), sha256=b"\x01" * 32)


def changed(path: str, value: object) -> GenerationSpec:
    """A good spec with one field changed."""
    spec = small("a good prompt")
    target: object = spec
    *parents, last = path.split(".")
    for parent in parents:
        target = getattr(target, parent)
    setattr(target, last, value)
    return spec


FIELDS: dict[str, tuple[GenerationSpec, str]] = {
    "no prompt": (changed("job.image.prompt", ""), "spec.job.image.prompt"),
    "long prompt": (changed("job.image.prompt", "x" * 4001), "spec.job.image.prompt"),
    "long negative prompt": (changed("job.image.negative_prompt", "x" * 4001), "spec.job.image.negative_prompt"),
    "zero width": (changed("job.image.width", 0), "spec.job.image.width"),
    "negative height": (changed("job.image.height", -64), "spec.job.image.height"),
    "huge width": (changed("job.image.width", 2**31 - 8), "spec.job.image.width"),
    "not a multiple of 8": (changed("job.image.width", 100), "spec.job.image.width"),
    "no steps": (changed("job.image.steps", 0), "spec.job.image.steps"),
    "too many steps": (changed("job.image.steps", 501), "spec.job.image.steps"),
    "unknown sampler": (changed("job.image.sampler", 999), "spec.job.image.sampler"),
    "negative guidance": (changed("job.image.guidance_scale", -1.0), "spec.job.image.guidance_scale"),
    "guidance that is no number": (
        changed("job.image.guidance_scale", float("nan")),
        "spec.job.image.guidance_scale",
    ),
    "negative seed": (changed("job.image.seed", -1), "spec.job.image.seed"),
    "clip skip": (changed("job.image.clip_skip", 13), "spec.job.image.clip_skip"),
    "strength without a source": (
        changed("job.image.denoising_strength", 0.5),
        "spec.job.image.denoising_strength",
    ),
    "no count": (changed("count", 0), "spec.count"),
    "huge count": (changed("count", 21), "spec.count"),
    "no model": (changed("job.model", ""), "spec.job.model"),
    "short time to live": (small("x", time_to_live=timedelta(milliseconds=10)), "spec.time_to_live"),
    "long time to live": (small("x", time_to_live=timedelta(days=2)), "spec.time_to_live"),
    "kept for ever": (small("x", keep_for=timedelta(days=400)), "spec.keep_for"),
    "no kind of work": (GenerationSpec(count=1), "spec.job"),
    "mask without a source": (small("x", mask=NOT_PUT), "spec.job.image.mask"),
    "too many loras": (small("x", loras=[Lora(name=f"l{n}", strength=1) for n in range(9)]), "spec.job.image.loras"),
    "unknown post-processor": (small("x", post_processors=[99]), "spec.job.image.post_processors"),
    "a worker that is no id": (small("x", denied_worker_ids=["me"]), "spec.denied_worker_ids"),
}


@pytest.mark.parametrize("name", FIELDS)
async def test_a_wrong_field_is_named_and_nothing_is_left(name: str, account: HordeClient, books: Books) -> None:
    spec, field = FIELDS[name]
    before = await account.accounts.show()
    for call in (account.generations.quote, account.generations.create):
        with pytest.raises(InvalidField) as caught:
            await call(spec)
        assert any(violation.field.startswith(field) for violation in caught.value.violations), caught.value.violations
    after = await account.accounts.show()
    assert (after.spend.posted_mkudos, after.spend.held_mkudos) == (
        before.spend.posted_mkudos,
        before.spend.held_mkudos,
    )
    await books.assert_balanced()


async def test_every_wrong_field_is_listed(account: HordeClient) -> None:
    spec = small("", width=7, height=5000, steps=0, count=99)
    with pytest.raises(InvalidField) as caught:
        await account.generations.create(spec)
    named = {violation.field for violation in caught.value.violations}
    image = "spec.job.image"
    assert {f"{image}.prompt", f"{image}.width", f"{image}.height", f"{image}.steps", "spec.count"} <= named


async def test_the_same_request_id_with_other_content_is_a_conflict_that_names_the_field(account: HordeClient) -> None:
    request_id = str(uuid.uuid4())
    first = await account.generations.create(small("one"), request_id=request_id)
    again = await account.generations.create(small("one"), request_id=request_id)
    assert again.generation_id == first.generation_id
    with pytest.raises(RequestConflict) as caught:
        await account.generations.create(small("another"), request_id=request_id)
    assert "prompt" in caught.value.metadata["field"]
    await account.generations.finish(first.generation_id)


@pytest.mark.parametrize("request_id", ["", "not-a-uuid", "x" * 100_000])
async def test_a_request_id_must_be_a_uuid(request_id: str, account: HordeClient) -> None:
    with pytest.raises(ServiceError) as caught:
        # An empty one would be made by the SDK: a blank is sent instead.
        await account.generations.create(small("x"), request_id=request_id or " ")
    assert isinstance(caught.value, InvalidArgument | ResourceExhausted)


BAD_CREDENTIALS: dict[str, tuple[Credential, type[ServiceError]]] = {
    "unknown key": (ApiKey("0123456789abcdefABCDEF"), Unauthenticated),
    "malformed key": (ApiKey("password"), Unauthenticated),
    "empty key": (ApiKey(""), Unauthenticated),
    "short token": (AnonymousToken("abc"), CredentialsMalformed),
    "token that is not hexadecimal": (AnonymousToken("z" * 32), CredentialsMalformed),
}


@pytest.mark.parametrize("name", BAD_CREDENTIALS)
async def test_a_bad_credential_is_refused_at_every_door(name: str, mesh: LocalMesh) -> None:
    credential, kind = BAD_CREDENTIALS[name]
    async with mesh.client(credential=credential, patience=IMPATIENT) as nobody:
        with pytest.raises(kind):
            await nobody.generations.create(small("x"))
        with pytest.raises(kind):
            await nobody.generations.finish(str(uuid.uuid4()))
        with pytest.raises(kind):
            await nobody.accounts.show()


async def test_a_revoked_key_is_unknown(mesh: LocalMesh) -> None:
    from horde.api.account.v1.account_service_pb2 import ApiKeyScope

    async with mesh.client() as nobody:
        opened = await nobody.accounts.create("forgetful")
    async with mesh.client(api_key=opened.api_key) as owner:
        made = await owner.accounts.create_key("second", [ApiKeyScope.API_KEY_SCOPE_GENERATE])
        await owner.accounts.revoke_key(made.key.api_key_id)
    async with mesh.client(api_key=made.api_key, patience=IMPATIENT) as late:
        with pytest.raises(ApiKeyUnknown):
            await late.generations.quote(small("x"))


def png_bomb() -> bytes:
    """A small file that says it is 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\x00" * 1_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


BAD_INPUTS: dict[str, tuple[bytes, tuple[type[ServiceError], ...]]] = {
    "empty": (b"", (NotAnImage, InvalidArgument)),
    "text": (b"This is not a picture." * 100, (NotAnImage,)),
    "truncated": (png(256, 256)[:-40], (NotAnImage,)),
    "bomb": (png_bomb(), (TooLarge, NotAnImage)),
    "too large": (png() + bytes(17 * 1024 * 1024), (TooLarge, NotAnImage)),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
async def test_a_bad_input_is_refused_and_not_kept(name: str, mesh: LocalMesh, account: HordeClient) -> None:
    content, kinds = BAD_INPUTS[name]
    before = {file.name for file in Buckets(mesh).private}
    with pytest.raises(kinds):
        await account.images.put(content)
    assert {file.name for file in Buckets(mesh).private} == before


async def test_a_mask_of_another_size_is_refused(account: HordeClient) -> None:
    source, mask = await account.images.put(png(64, 64)), await account.images.put(png(32, 32))
    with pytest.raises((InvalidField, InputUnusable)) as caught:
        await account.generations.create(small("x", source_image=source, mask=mask))
    assert "mask" in str(caught.value) + str(caught.value.metadata)


@pytest.mark.parametrize("field", ["source_image", "controls"])
async def test_an_input_that_was_never_put_is_refused(field: str, account: HordeClient) -> None:
    given = NOT_PUT if field == "source_image" else [Control(image=NOT_PUT)]
    with pytest.raises(InputUnusable) as caught:
        await account.generations.create(small("x", **{field: given}))
    assert caught.value.metadata["input_id"] == NOT_PUT.input_id


async def test_an_oversized_message_is_refused(mesh: LocalMesh, account: HordeClient) -> None:
    async with mesh.client(credential=account.credential, patience=IMPATIENT) as hasty:
        with pytest.raises((ResourceExhausted, InvalidArgument)):
            await hasty.generations.create(small("x" * 3_000_000))


async def test_this_mesh_holds_every_case_of_horde_conform(mesh: LocalMesh) -> None:
    async with driving(PYTHON_DRIVER) as driver:
        for _ in ticks():
            if "worker" in await needs_met(driver, mesh.gateway, DEFAULT_MODEL):
                break
    verdicts = [verdict async for verdict in hold(PYTHON_DRIVER, mesh.gateway)]
    assert len(verdicts) == len(read_cases("mesh")) >= 80
    assert [verdict for verdict in verdicts if not verdict.passed] == []
