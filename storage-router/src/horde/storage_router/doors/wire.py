"""Messages to values and back. Items that are not valid become the error that answers them; nothing else is decided."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from datetime import timedelta

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import status_pb2

from horde.api.job.v1 import job_pb2
from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.services.errors import FieldViolation, ServiceError
from horde.services.status import to_status
from horde.storage_router.core.errors import InvalidField
from horde.storage_router.core.fields import Fields
from horde.storage_router.core.likeness import Distance
from horde.storage_router.core.orders import (
    CommitOrder,
    Committed,
    CompareOrder,
    DiscardOrder,
    PictureRef,
    WithdrawOrder,
)
from horde.storage_router.core.pictures import Change, ImageFormat
from horde.storage_router.core.placement import Placement, PlacementFacts
from horde.storage_router.core.records import Content, InputRecord
from horde.storage_router.downloads import FileContent, Piece
from horde.storage_router.input_orders import InputRelease
from horde.storage_router.inputs import NamedInput
from horde.storage_router.receiving import Finish, Open, Part, UploadMessage
from horde.storage_router.uploads import Receipt, Resume

MAX_ITEMS = 256
"""Items of one call."""
MAX_COMPARISONS = 64
"""Pairs of one call: each is two pictures decoded."""
MAX_KEEP = timedelta(days=366)

_FORMATS = {
    ImageFormat.PNG: storage.IMAGE_FORMAT_PNG,
    ImageFormat.JPEG: storage.IMAGE_FORMAT_JPEG,
    ImageFormat.WEBP: storage.IMAGE_FORMAT_WEBP,
}
_CHANGES = {
    Change.ORIENTED: storage.INPUT_CHANGE_ORIENTED,
    Change.COLOUR_CONVERTED: storage.INPUT_CHANGE_COLOUR_CONVERTED,
    Change.FLATTENED: storage.INPUT_CHANGE_FLATTENED,
    Change.FIRST_FRAME: storage.INPUT_CHANGE_FIRST_FRAME,
    Change.STRIPPED: storage.INPUT_CHANGE_STRIPPED,
    Change.REENCODED: storage.INPUT_CHANGE_REENCODED,
}
_PLACEMENTS: dict[int, Placement] = {
    job_pb2.PLACEMENT_PRIVATE: Placement.PRIVATE,
    job_pb2.PLACEMENT_SHARED: Placement.SHARED,
}


async def read_image_upload(requests: AsyncIterable[storage.UploadImageRequest]) -> AsyncIterator[UploadMessage]:
    """What a worker says."""
    async for request in requests:
        kind = request.WhichOneof("message")
        yield Open(request.open.grant) if kind == "open" else _said(request, kind)


async def read_input_upload(requests: AsyncIterable[storage.PutInputRequest]) -> AsyncIterator[UploadMessage]:
    """What a requester says."""
    async for request in requests:
        kind = request.WhichOneof("message")
        yield Open(request.open.ticket) if kind == "open" else _said(request, kind)


def _said(request: storage.UploadImageRequest | storage.PutInputRequest, kind: str | None) -> UploadMessage:
    if kind == "chunk":
        return Part(request.chunk.offset, request.chunk.data)
    if kind == "finish":
        return Finish(request.finish.sha256, request.finish.size_bytes)
    return None


def write_upload_answer(answer: Resume | Receipt) -> storage.UploadImageResponse:
    """What a worker is told."""
    if isinstance(answer, Resume):
        return storage.UploadImageResponse(resume=storage.UploadResume(offset=answer.offset))
    return storage.UploadImageResponse(receipt=storage.UploadReceipt(receipt=answer.token))


def write_download(part: Content | FileContent | Piece) -> storage.DownloadResponse:
    """A part of a download."""
    if isinstance(part, Piece):
        return storage.DownloadResponse(chunk=storage.Chunk(offset=part.offset, data=part.data))
    header = storage.DownloadHeader(size_bytes=part.size_bytes, sha256=bytes.fromhex(part.sha256))
    if isinstance(part, Content):
        header.format = _FORMATS[part.format]
    return storage.DownloadResponse(header=header)


def write_link(link: tuple[str, timedelta]) -> storage.CreateLinkResponse:
    """A link."""
    response = storage.CreateLinkResponse(url=link[0])
    response.expires_in.FromTimedelta(link[1])
    return response


def write_input(input_id: str, record: InputRecord) -> storage.StoredInput:
    """A stored input."""
    content = record.content
    return storage.StoredInput(
        input_id=input_id,
        sha256=bytes.fromhex(record.sent_sha256),
        size_bytes=content.size_bytes,
        width=content.width,
        height=content.height,
        format=_FORMATS[content.format],
        changes=[number for change, number in _CHANGES.items() if change in record.changes],
    )


def read_commits(request: objects.CommitObjectsRequest) -> Sequence[CommitOrder | ServiceError]:
    """The orders of one call."""
    _check_count("commits", len(request.commits))
    return [_read_commit(commit) for commit in request.commits]


def _read_commit(commit: objects.CommitObject) -> CommitOrder | ServiceError:
    fields = Fields()
    order = CommitOrder(
        job_id=fields.name("job_id", commit.job_id),
        lease_id=fields.name("lease_id", commit.lease_id),
        requester=_read_requester(fields, commit.requester),
        sha256=fields.digest("sha256", commit.sha256),
        placement=_read_placement(fields, commit.placement),
        facts=PlacementFacts(
            commit.facts.anonymous, commit.facts.asked, commit.facts.has_input, commit.facts.consent_text_version
        ),
        object_name=fields.name("object_name", commit.object_name),
        keep_for=commit.keep_for.ToTimedelta(),
        accepted_at=commit.accepted_at.ToDatetime(tzinfo=fields.utc),
        made=_read_made(commit),
        painter=fields.name("painter_account_id", commit.painter_account_id) if commit.painter_account_id else "",
        traceparent=commit.traceparent,
    )
    if order.placement is Placement.PRIVATE:
        fields.check(timedelta(0) < order.keep_for <= MAX_KEEP, "keep_for", f"must be above 0 and at most {MAX_KEEP}")
    else:
        fields.check(commit.HasField("accepted_at"), "accepted_at", "is needed for the consent record")
        fields.check(
            bool(commit.facts.consent_text_version), "facts.consent_text_version", "is needed for the consent record"
        )
        fields.check(commit.HasField("spec"), "spec", "is written beside a shared image")
    fields.check(
        commit.facts.anonymous == bool(commit.requester.anonymous_digest), "facts.anonymous", "must fit the requester"
    )
    return fields.error() or order


def _read_made(commit: objects.CommitObject) -> dict[str, object]:
    """How a shared image was painted, as it is written beside it."""
    if commit.placement != job_pb2.PLACEMENT_SHARED:
        return {}
    return {
        "spec": _plain(commit.spec),
        "deviations": [_plain(deviation) for deviation in commit.deviations],
        "making": _plain(commit.making),
    }


def _plain(message: Message) -> object:
    plain: object = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return plain


def write_commits(outcomes: Sequence[Committed | ServiceError]) -> objects.CommitObjectsResponse:
    """What became of the orders."""
    return objects.CommitObjectsResponse(outcomes=map(_write_commit, outcomes))


def _write_commit(outcome: Committed | ServiceError) -> objects.CommitObjectOutcome:
    if isinstance(outcome, ServiceError):
        return objects.CommitObjectOutcome(error=to_status(outcome))
    committed = objects.CommittedObject(size_bytes=outcome.size_bytes, format=_FORMATS[outcome.format])
    if outcome.expires_at is not None:
        committed.expires_at.FromDatetime(outcome.expires_at)
    return objects.CommitObjectOutcome(committed=committed)


def read_discards(request: objects.DiscardObjectsRequest) -> Sequence[DiscardOrder | ServiceError]:
    """The orders of one call."""
    _check_count("discards", len(request.discards))
    return [_read_discard(discard) for discard in request.discards]


def _read_discard(discard: objects.DiscardObject) -> DiscardOrder | ServiceError:
    fields = Fields()
    order = DiscardOrder(fields.name("job_id", discard.job_id), fields.name("lease_id", discard.lease_id))
    return fields.error() or order


def read_comparisons(request: objects.CompareObjectsRequest) -> Sequence[CompareOrder | ServiceError]:
    """The pairs of one call."""
    _check_count("comparisons", len(request.comparisons), MAX_COMPARISONS)
    return [_read_comparison(comparison) for comparison in request.comparisons]


def _read_comparison(comparison: objects.ComparePictures) -> CompareOrder | ServiceError:
    fields = Fields()
    one, other = (_read_ref(fields, name, getattr(comparison, name)) for name in ("one", "other"))
    return fields.error() or CompareOrder(one, other)


def _read_ref(fields: Fields, where: str, ref: objects.PictureRef) -> PictureRef:
    job_id = fields.name(f"{where}.job_id", ref.job_id)
    if ref.lease_id:
        return PictureRef(job_id, fields.name(f"{where}.lease_id", ref.lease_id), "", Placement.PRIVATE)
    placement = _read_placement(fields, ref.placement)
    return PictureRef(job_id, "", fields.name(f"{where}.object_name", ref.object_name), placement)


def write_distances(outcomes: Sequence[Distance | ServiceError]) -> objects.CompareObjectsResponse:
    """How far each pair is."""
    return objects.CompareObjectsResponse(outcomes=map(_write_distance, outcomes))


def _write_distance(outcome: Distance | ServiceError) -> objects.CompareOutcome:
    if isinstance(outcome, ServiceError):
        return objects.CompareOutcome(error=to_status(outcome))
    return objects.CompareOutcome(
        distance=objects.PictureDistance(
            structure=outcome.structure,
            edges=outcome.edges,
            luma=outcome.luma,
            chroma=outcome.chroma,
            contrast_one=outcome.contrast_one,
            contrast_other=outcome.contrast_other,
        )
    )


def read_withdrawals(
    request: objects.WithdrawObjectsRequest, *, shared_alone: bool
) -> Sequence[WithdrawOrder | ServiceError]:
    """The orders of one call; `shared_alone`: of who may take back nothing else."""
    _check_count("withdrawals", len(request.withdrawals))
    return [_read_withdrawal(withdrawal, shared_alone) for withdrawal in request.withdrawals]


def _read_withdrawal(withdrawal: objects.WithdrawObject, shared_alone: bool) -> WithdrawOrder | ServiceError:
    fields = Fields()
    private = withdrawal.placement == job_pb2.PLACEMENT_PRIVATE
    fields.check(not (shared_alone and private), "placement", "must be SHARED for this caller")
    order = WithdrawOrder(
        fields.name("job_id", withdrawal.job_id),
        fields.name("object_name", withdrawal.object_name),
        _read_placement(fields, withdrawal.placement),
    )
    return fields.error() or order


def write_statuses(outcomes: Sequence[ServiceError | None]) -> list[status_pb2.Status]:
    """One status for each item; code 0 is OK."""
    return [status_pb2.Status() if outcome is None else to_status(outcome) for outcome in outcomes]


def read_requester(requester: job_pb2.Requester) -> str:
    """The text form of a requester identity. Raises InvalidField."""
    fields = Fields()
    text = _read_requester(fields, requester)
    fields.raise_error()
    return text


def read_inputs(named: Sequence[job_pb2.InputImage]) -> Sequence[NamedInput | ServiceError]:
    """The inputs of one call."""
    _check_count("inputs", len(named))
    return [_read_input(named_input) for named_input in named]


def _read_input(named: job_pb2.InputImage) -> NamedInput | ServiceError:
    fields = Fields()
    found = NamedInput(fields.name("input_id", named.input_id), fields.digest("sha256", named.sha256))
    return fields.error() or found


def read_input_ids(input_ids: Sequence[str]) -> Sequence[str | ServiceError]:
    """The ids of one call."""
    _check_count("input_ids", len(input_ids))
    return [_read_input_id(input_id) for input_id in input_ids]


def _read_input_id(input_id: str) -> str | ServiceError:
    fields = Fields()
    fields.name("input_id", input_id)
    return fields.error() or input_id


def write_descriptions(
    named: Sequence[job_pb2.InputImage], outcomes: Sequence[InputRecord | ServiceError]
) -> objects.DescribeInputsResponse:
    """What is stored."""
    response = objects.DescribeInputsResponse()
    for input_, outcome in zip(named, outcomes, strict=True):
        if isinstance(outcome, ServiceError):
            response.outcomes.add(error=to_status(outcome))
        else:
            response.outcomes.add(input=write_input(input_.input_id, outcome))
    return response


def read_generation(generation_id: str) -> str:
    """A generation's id. Raises InvalidField."""
    fields = Fields()
    name = fields.name("generation_id", generation_id)
    fields.raise_error()
    return name


def read_releases(request: objects.ReleaseInputsRequest) -> Sequence[InputRelease | ServiceError]:
    """Generations and the inputs that they let go."""
    _check_count("claims", len(request.claims))
    return [_read_release(claim) for claim in request.claims]


def _read_release(claim: objects.InputClaim) -> InputRelease | ServiceError:
    fields = Fields()
    generation = fields.name("generation_id", claim.generation_id)
    fields.check(len(claim.input_ids) <= MAX_ITEMS, "input_ids", f"at most {MAX_ITEMS}")
    inputs = [
        fields.name(f"input_ids[{index}]", input_id) for index, input_id in enumerate(claim.input_ids[:MAX_ITEMS])
    ]
    requester = _read_requester(fields, claim.requester)
    return fields.error() or InputRelease(generation, requester, inputs)


def _read_requester(fields: Fields, requester: job_pb2.Requester) -> str:
    if requester.anonymous_digest:
        return f"anonymous:{fields.digest('requester.anonymous_digest', requester.anonymous_digest)}"
    return fields.name("requester.account_id", requester.account_id)


def _read_placement(fields: Fields, placement: int) -> Placement:
    fields.check(placement in _PLACEMENTS, "placement", "is not one that is known")
    return _PLACEMENTS.get(placement, Placement.PRIVATE)


def _check_count(field: str, count: int, most: int = MAX_ITEMS) -> None:
    if not 1 <= count <= most:
        raise InvalidField(violations=[FieldViolation(field, f"must be 1 to {most} items, not {count}")])
