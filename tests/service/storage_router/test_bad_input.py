"""Bad input at this door, one table for each RPC: a typed error, and nothing is stored."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import grpc
import pytest

from horde.api.job.v1 import job_pb2
from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.services.errors import OutOfRange, ResourceExhausted, ServiceError
from horde.services.identity import CallerNotAllowed
from horde.services.tokens import TokenExpired, TokenForged, TokenMalformed, TokenWrongAudience
from horde.storage_router.core import errors
from horde.storage_router.decoding import DecoderPool
from horde.storage_router.doors.permits import AUDIENCE, LEEWAY
from horde.testkit.loopback import ManualClock, fields_of
from horde.testkit.storage_router import LIFETIME, Job, Kit, cut, finish, keys_of, kit, make_signer, paint

Request = storage.UploadImageRequest
JOB = Job()
GOOD = paint()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, body: bytes, *extra: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def whole(image: bytes) -> list[Request]:
    return [*(Request(chunk=each) for each in cut(image)), Request(finish=finish(image))]


def upload_opening(grant: str) -> Request:
    return Request(open=storage.UploadImageOpen(grant=grant))


def flip(token: str) -> str:
    """The same token with other claims under the old signature."""
    head, claims, signature = token.split(".")
    return f"{head}.{claims[:-2]}{'A' if claims[-2] != 'A' else 'B'}{claims[-1]}.{signature}"


@dataclass(frozen=True)
class Bad:
    """What is sent after a good opening, unless there is a `grant`; and what must come of it."""

    error: type[ServiceError]
    messages: Sequence[Request] = ()
    grant: Callable[[Kit], str] | None = None
    metadata: dict[str, str] | None = None


def claims(**others: Any) -> Callable[[Kit], str]:
    return lambda router: router.grant(JOB, **others)


def without(name: str) -> Callable[[Kit], str]:
    kept = {key: value for key, value in JOB.grant_claims().items() if key != name}
    return lambda router: router.scheduler.sign(AUDIENCE, kept, LIFETIME, router.clock.now())


def signed_by(issuer: str, seed: int = 0, audience: str = AUDIENCE) -> Callable[[Kit], str]:
    return lambda router: make_signer(issuer, seed).sign(audience, JOB.grant_claims(), LIFETIME, router.clock.now())


def expired(router: Kit) -> str:
    return router.scheduler.sign(AUDIENCE, JOB.grant_claims(), LIFETIME, router.clock.now() - LIFETIME - LEEWAY)


UPLOADS: dict[str, Bad] = {
    # the grant
    "no grant": Bad(TokenMalformed, grant=lambda _: ""),
    "a grant that is no token": Bad(TokenMalformed, grant=lambda _: "a.b.c"),
    "a grant without signature": Bad(TokenForged, grant=lambda r: r.grant(JOB).rpartition(".")[0] + "."),
    "a grant with other claims": Bad(TokenForged, grant=lambda r: flip(r.grant(JOB))),
    "a grant signed with an unknown key": Bad(TokenForged, grant=signed_by("scheduler", seed=1)),
    "a grant signed by the gateway": Bad(TokenWrongAudience, grant=signed_by("gateway")),
    "a grant signed by the router itself": Bad(TokenWrongAudience, grant=signed_by("storage-router")),
    "a grant for somebody else": Bad(TokenWrongAudience, grant=signed_by("scheduler", audience="ledger")),
    "an expired grant": Bad(TokenExpired, grant=expired),
    "a ticket instead of a grant": Bad(TokenWrongAudience, grant=lambda r: r.input_ticket("input-1")),
    "a grant for another act": Bad(TokenWrongAudience, grant=claims(act="get_input")),
    **{
        f"a grant without {name}": Bad(TokenMalformed, grant=without(name))
        for name in JOB.grant_claims()
        if name != "act"
    },
    "a grant whose job leaves its folder": Bad(TokenMalformed, grant=claims(job_id="../images")),
    "a grant whose lease leaves its folder": Bad(TokenMalformed, grant=claims(lease_id="a/../../b")),
    "a grant with a negative size": Bad(TokenMalformed, grant=claims(max_bytes=-1)),
    "a grant with an unknown placement": Bad(TokenMalformed, grant=claims(placement="PUBLIC")),
    "a private job with a grant that says shared": Bad(
        errors.PlacementMismatch,
        grant=claims(placement="SHARED"),
        metadata={"signed": "SHARED", "computed": "PRIVATE"},
    ),
    "a shared job with a grant that says private": Bad(
        errors.PlacementMismatch,
        grant=lambda r: r.grant(JOB.shared(), placement="PRIVATE"),
        metadata={"signed": "PRIVATE", "computed": "SHARED"},
    ),
    # the stream
    "nothing after the opening": Bad(errors.ProtocolViolation),
    "a second opening": Bad(errors.ProtocolViolation, [upload_opening("x")], metadata={"got": "another open"}),
    "an empty message": Bad(errors.ProtocolViolation, [Request()]),
    "an end in the middle": Bad(errors.ProtocolViolation, whole(GOOD)[:-1]),
    "a gap": Bad(
        errors.ProtocolViolation, [Request(chunk=storage.Chunk(offset=1, data=b"x"))], metadata={"got": "offset 1"}
    ),
    "an overlap": Bad(
        errors.ProtocolViolation,
        [Request(chunk=storage.Chunk(offset=0, data=b"x")), *whole(GOOD)],
        metadata={"got": "offset 0"},
    ),
    "a negative offset": Bad(errors.ProtocolViolation, [Request(chunk=storage.Chunk(offset=-5, data=b"x"))]),
    "an empty chunk": Bad(errors.ProtocolViolation, [Request(chunk=storage.Chunk(offset=0))]),
    "a chunk too large": Bad(
        errors.ProtocolViolation, [Request(chunk=storage.Chunk(offset=0, data=bytes(256 * 1024 + 1)))]
    ),
    "a message too large": Bad(ResourceExhausted, [Request(chunk=storage.Chunk(offset=0, data=bytes(5 << 20)))]),
    "more bytes than the grant allows": Bad(
        errors.TooLarge, whole(bytes(JOB.max_bytes + 1)), metadata={"limit": str(JOB.max_bytes), "unit": "bytes"}
    ),
    "a wrong digest": Bad(
        errors.DigestMismatch,
        [*whole(GOOD)[:-1], Request(finish=storage.UploadFinish(sha256=bytes(32), size_bytes=len(GOOD)))],
    ),
    "a wrong length": Bad(
        errors.DigestMismatch,
        [
            *whole(GOOD)[:-1],
            Request(finish=storage.UploadFinish(sha256=hashlib.sha256(GOOD).digest(), size_bytes=len(GOOD) + 1)),
        ],
    ),
    "a digest that is none": Bad(errors.ProtocolViolation, [Request(finish=storage.UploadFinish(sha256=b"x"))]),
    # the image
    "no bytes": Bad(errors.NotAnImage, whole(b"")),
    "text": Bad(errors.NotAnImage, whole(b"this is not an image")),
    "a truncated image": Bad(errors.NotAnImage, whole(GOOD[:-10])),
    "an image with a tail": Bad(errors.NotAnImage, whole(GOOD + b"PK\x03\x04")),
    "an image of another size": Bad(
        errors.WrongDimensions, whole(paint(width=64, height=32)), metadata={"expected": "64x64", "got": "64x32"}
    ),
    "an image larger than granted": Bad(
        errors.TooLarge, whole(paint(width=128, height=128)), metadata={"unit": "pixels"}
    ),
    "a PNG of 100,000 x 100,000": Bad(errors.TooLarge, whole(png(100_000, 100_000, zlib.compress(b"")))),
    "a PNG that inflates a thousandfold": Bad(errors.NotAnImage, whole(png(64, 64, zlib.compress(bytes(50_000_000))))),
    "a PNG with text that inflates to 50 MB": Bad(
        errors.TooLarge, whole(png(64, 64, b"", chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))))
    ),
    "a PNG with a damaged body": Bad(errors.NotAnImage, whole(png(64, 64, b"\x78\x9c" + bytes(100)))),
}


@pytest.mark.parametrize("name", UPLOADS)
async def test_a_bad_upload_is_refused_and_leaves_nothing(name: str) -> None:
    bad = UPLOADS[name]
    # Shared: so the decoder is asked, too.
    job = JOB if bad.grant is not None else JOB.shared()
    async with DecoderPool(1, 1 << 24, 512 << 20, 20.0) as decoder, kit(ManualClock(), decoder=decoder) as router:
        grant = router.grant(job) if bad.grant is None else bad.grant(router)
        with pytest.raises(ServiceError) as caught:
            async for _ in router.door.UploadImage(iter([upload_opening(grant), *bad.messages])):
                pass
        assert type(caught.value) is bad.error, caught.value
        assert (bad.metadata or {}).items() <= caught.value.metadata.items()
        assert await keys_of(router.private) == []
        assert await keys_of(router.shared) == []


def in_one_message(messages: Sequence[Request]) -> storage.PutImageRequest | None:
    """The same upload for the other way in, if it is one: chunks without gaps, then what they should be."""
    data = b"".join(message.chunk.data for message in messages[:-1])
    kinds = [message.WhichOneof("message") for message in messages]
    gapless = [message.chunk.offset for message in messages[:-1]] == list(range(0, len(data), 16 * 1024))
    if kinds[-1:] != ["finish"] or "finish" in kinds[:-1] or "open" in kinds or not gapless:
        return None
    if not 0 < len(data) == messages[-1].finish.size_bytes <= 256 * 1024:
        return None
    return storage.PutImageRequest(data=data, sha256=messages[-1].finish.sha256)


PUTS = {
    **{name: (bad, storage.PutImageRequest(data=GOOD)) for name, bad in UPLOADS.items() if bad.grant is not None},
    **{name: (bad, said) for name, bad in UPLOADS.items() if (said := in_one_message(bad.messages)) is not None},
    "nothing but a grant": (Bad(errors.ProtocolViolation), storage.PutImageRequest()),
    "no digest": (Bad(errors.ProtocolViolation), storage.PutImageRequest(data=GOOD)),
    "another digest": (Bad(errors.DigestMismatch), storage.PutImageRequest(data=GOOD, sha256=bytes(32))),
    "more than one message may hold": (
        Bad(errors.ProtocolViolation),
        storage.PutImageRequest(data=bytes(256 * 1024 + 1), sha256=hashlib.sha256(bytes(256 * 1024 + 1)).digest()),
    ),
    "more than was granted": (
        Bad(errors.TooLarge, grant=claims(max_bytes=len(GOOD) - 1), metadata={"unit": "bytes"}),
        storage.PutImageRequest(data=GOOD, sha256=finish(GOOD).sha256),
    ),
}


def test_most_bad_uploads_are_tried_both_ways() -> None:
    assert len(PUTS) > 30
    assert {"text", "a truncated image", "a PNG with a damaged body", "an expired grant"} <= PUTS.keys()


@pytest.mark.parametrize("name", PUTS)
async def test_a_bad_upload_in_one_message_is_refused_alike(name: str) -> None:
    bad, message = PUTS[name]
    job = JOB if bad.grant is not None else JOB.shared()
    async with DecoderPool(1, 1 << 24, 512 << 20, 20.0) as decoder, kit(ManualClock(), decoder=decoder) as router:
        request = storage.PutImageRequest()
        request.CopyFrom(message)
        request.grant = router.grant(job) if bad.grant is None else bad.grant(router)
        with pytest.raises(ServiceError) as caught:
            await router.door.PutImage(request)
        assert type(caught.value) is bad.error, caught.value
        assert (bad.metadata or {}).items() <= caught.value.metadata.items()
        assert await keys_of(router.private) == []
        assert await keys_of(router.shared) == []
        assert router.shares.images.used == 0


async def test_a_chunk_before_the_opening_is_refused() -> None:
    async with kit(ManualClock()) as router:
        # One message and no more: gRPC's client says that it is broken when it writes to a stream that was just ended.
        call = router.door.UploadImage()
        await call.write(whole(GOOD)[0])
        with pytest.raises(errors.ProtocolViolation):
            await call.read()
        with pytest.raises(errors.ProtocolViolation):
            async for _ in router.door.UploadImage(iter([])):
                pass


def put(*messages: storage.PutInputRequest, image: bytes = b"") -> list[storage.PutInputRequest]:
    rest = [storage.PutInputRequest(chunk=each) for each in cut(image)]
    return [*messages, *rest, storage.PutInputRequest(finish=finish(image))]


INPUTS: dict[str, tuple[type[ServiceError], Callable[[Kit], str], bytes]] = {
    "no ticket": (TokenMalformed, lambda _: "", GOOD),
    "a forged ticket": (TokenForged, lambda r: flip(r.input_ticket("input-1")), GOOD),
    "an expired ticket": (
        TokenExpired,
        lambda r: r.gateway.sign(
            AUDIENCE, {"act": "put_input"}, timedelta(seconds=1), r.clock.now() - LEEWAY - timedelta(seconds=1)
        ),
        GOOD,
    ),
    "a ticket for another act": (
        TokenWrongAudience,
        lambda r: r.ticket({"act": "get_input", "input_id": "input-1", "sha256": "00" * 32}),
        GOOD,
    ),
    "a grant": (TokenWrongAudience, lambda r: r.grant(JOB), GOOD),
    "too many bytes": (errors.TooLarge, lambda r: r.input_ticket("input-1", max_bytes=len(GOOD) - 1), GOOD),
    "not an image": (errors.NotAnImage, lambda r: r.input_ticket("input-1"), b"text"),
    "too many pixels": (errors.TooLarge, lambda r: r.input_ticket("input-1"), png(9_000, 9_000, b"")),
}


@pytest.mark.parametrize("name", INPUTS)
async def test_a_bad_input_is_refused_and_leaves_nothing(name: str) -> None:
    error, ticket, image = INPUTS[name]
    async with kit(ManualClock()) as router:
        opening = storage.PutInputRequest(open=storage.PutInputOpen(ticket=ticket(router)))
        with pytest.raises(error):
            await router.door.PutInput(iter(put(opening, image=image)))
        with pytest.raises(errors.ProtocolViolation):
            await router.door.PutInput(iter(put(image=image)))
        assert await keys_of(router.private) == []


async def test_a_download_past_the_end_is_out_of_range() -> None:
    async with kit(ManualClock()) as router:
        await router.upload(JOB, GOOD)
        await router.commit(JOB.commit(GOOD))
        ticket = router.ticket(JOB.image_ticket_claims(GOOD))
        assert (await router.download(ticket, len(GOOD)))[1] == b""
        for offset in (-1, len(GOOD) + 1):
            with pytest.raises(OutOfRange):
                await router.download(ticket, offset)


async def test_folders_make_no_links() -> None:
    async with kit(ManualClock()) as router:
        await router.upload(JOB, GOOD)
        await router.commit(JOB.commit(GOOD))
        request = storage.CreateLinkRequest(ticket=router.ticket(JOB.image_ticket_claims(GOOD)))
        with pytest.raises(errors.LinksUnsupported):
            await router.door.CreateLink(request)


def commit_with(**others: Any) -> objects.CommitObject:
    commit = JOB.commit(GOOD)
    for name, value in others.items():
        if value is None:
            commit.ClearField(name)  # type: ignore[arg-type]
        elif hasattr(value, "SerializeToString"):
            getattr(commit, name).CopyFrom(value)
        else:
            setattr(commit, name, value)
    return commit


SHARED_FACTS = job_pb2.PlacementFacts(asked=True, consent_text_version="2026-11")
COMMITS: dict[str, tuple[objects.CommitObject, str, list[str]]] = {
    "everything missing": (
        objects.CommitObject(),
        "INVALID_FIELD",
        ["job_id", "lease_id", "requester.account_id", "sha256", "placement", "object_name", "keep_for"],
    ),
    "an unknown placement": (commit_with(placement=17), "INVALID_FIELD", ["placement"]),
    "a short digest": (commit_with(sha256=b"x"), "INVALID_FIELD", ["sha256"]),
    "an object name that leaves its folder": (commit_with(object_name="../x"), "INVALID_FIELD", ["object_name"]),
    "no time to keep": (commit_with(keep_for=None), "INVALID_FIELD", ["keep_for"]),
    "facts that do not fit the requester": (
        commit_with(facts=job_pb2.PlacementFacts(anonymous=True, has_input=True)),
        "INVALID_FIELD",
        ["facts.anonymous"],
    ),
    "a shared image without consent": (
        commit_with(
            placement=job_pb2.PLACEMENT_SHARED, facts=job_pb2.PlacementFacts(asked=True), accepted_at=None, spec=None
        ),
        "INVALID_FIELD",
        ["accepted_at", "facts.consent_text_version", "spec"],
    ),
    "a placement that the facts do not give": (
        commit_with(placement=job_pb2.PLACEMENT_SHARED),
        "PLACEMENT_MISMATCH",
        [],
    ),
    "facts and placement that are not the grant's": (
        commit_with(placement=job_pb2.PLACEMENT_SHARED, facts=SHARED_FACTS),
        "PLACEMENT_MISMATCH",
        [],
    ),
    "a lease that stored nothing": (commit_with(lease_id="1.99"), "OBJECT_NOT_FOUND", []),
    "another digest": (commit_with(sha256=bytes(32)), "CONTENT_CONFLICT", []),
}


@pytest.mark.parametrize("name", COMMITS)
async def test_a_bad_commit_is_refused_alone_and_moves_nothing(name: str) -> None:
    commit, reason, fields = COMMITS[name]
    other, image = Job.numbered(5), paint(seed=5)
    async with kit(ManualClock()) as router:
        await router.upload(JOB, GOOD)
        await router.upload(other, image)
        bad, good = await router.commit(commit, other.commit(image))
        assert good.HasField("committed")
        details = [detail for detail in bad.error.details if detail.type_url.endswith("ErrorInfo")]
        assert reason.encode() in details[0].value
        found = [detail for detail in bad.error.details if detail.type_url.endswith("BadRequest")]
        assert all(field.encode() in found[0].value for field in fields)
        assert await keys_of(router.private) == [
            f"images/{other.object_name}",
            f"quarantine/{JOB.job_id}/{JOB.lease_id}",
        ]
        assert await keys_of(router.shared) == []


@pytest.mark.parametrize("shared", [False, True])
async def test_facts_that_give_another_placement_stop_a_commit_that_all_else_agrees_on(shared: bool) -> None:
    job = JOB.shared() if shared else JOB
    async with kit(ManualClock()) as router:
        await router.upload(job, GOOD)
        commit = job.commit(GOOD)
        commit.facts.asked, commit.facts.has_input = not shared, shared
        (outcome,) = await router.commit(commit)
        assert b"PLACEMENT_MISMATCH" in outcome.error.details[0].value
        assert await keys_of(router.private) == [f"quarantine/{job.job_id}/{job.lease_id}"]
        assert await keys_of(router.shared) == []


async def test_a_call_has_one_to_256_items() -> None:
    async with kit(ManualClock()) as router:
        for count in (0, 257):
            with pytest.raises(errors.InvalidField) as caught:
                await router.commit(*[JOB.commit(GOOD)] * count)
            assert fields_of(caught.value) == ["commits"]
            with pytest.raises(errors.InvalidField):
                await router.orders.DiscardObjects(
                    objects.DiscardObjectsRequest(discards=[objects.DiscardObject()] * count)
                )
            with pytest.raises(errors.InvalidField):
                await router.orders.DescribeInputs(
                    objects.DescribeInputsRequest(
                        requester=job_pb2.Requester(account_id="alice"), inputs=[job_pb2.InputImage()] * count
                    )
                )


async def test_only_the_scheduler_orders_and_the_gateway_describes() -> None:
    describe = objects.DescribeInputsRequest(
        requester=job_pb2.Requester(account_id="alice"), inputs=[job_pb2.InputImage(input_id="i", sha256=bytes(32))]
    )
    for caller in ("gateway", "ledger", "storage-router", "worker"):
        async with kit(ManualClock(), caller=caller) as router:
            await router.upload(JOB, GOOD)
            for call in (
                router.orders.CommitObjects(objects.CommitObjectsRequest(commits=[JOB.commit(GOOD)])),
                router.orders.DiscardObjects(objects.DiscardObjectsRequest()),
                router.orders.WithdrawObjects(objects.WithdrawObjectsRequest()),
                router.orders.ClaimInputs(objects.ClaimInputsRequest()),
                router.orders.ReleaseInputs(objects.ReleaseInputsRequest()),
            ):
                with pytest.raises(CallerNotAllowed):
                    await call
            if caller == "gateway":
                assert len((await router.orders.DescribeInputs(describe)).outcomes) == 1
            else:
                with pytest.raises(CallerNotAllowed):
                    await router.orders.DescribeInputs(describe)
            assert await keys_of(router.private) == [f"quarantine/{JOB.job_id}/{JOB.lease_id}"]


async def test_a_process_without_the_key_orders_nothing() -> None:
    async with kit(ManualClock()) as router:
        await router.upload(JOB, GOOD)
        method = "/horde.internal.storage.v1.ObjectService/CommitObjects"
        request = objects.CommitObjectsRequest(commits=[JOB.commit(GOOD)]).SerializeToString()
        proofs = (None, (("mesh-caller", "scheduler"),), (("mesh-caller", "scheduler"), ("mesh-proof", "00" * 32)))
        async with grpc.aio.insecure_channel(router.target) as channel:
            call: Any = channel.unary_unary(method)
            for proof in proofs:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(request, metadata=proof)
                expected = grpc.StatusCode.PERMISSION_DENIED if proof is None else grpc.StatusCode.UNAUTHENTICATED
                assert caught.value.code() is expected
        assert await keys_of(router.private) == [f"quarantine/{JOB.job_id}/{JOB.lease_id}"]


def test_the_jobs_of_the_table_are_private_and_shared() -> None:
    assert JOB.placement is not JOB.shared().placement
    assert replace(JOB, width=1).width == 1
