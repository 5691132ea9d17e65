"""Between the contract's messages about data releases and the values of this service."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from horde.api.release.v1 import data_release_service_pb2 as pb
from horde.curation.core.errors import InvalidReleaseField
from horde.curation.core.fields import Fields
from horde.curation.core.releases import (
    FORMAT_VERSION,
    LICENCE,
    MAX_COOL_OFF,
    MAX_IMAGES_PER_SHARD,
    MAX_SHARD_BYTES,
    MIN_SHARD_BYTES,
    Asked,
    Estimate,
    Finished,
    State,
    Terms,
    is_name,
)
from horde.curation.core.removals import Removal
from horde.curation.doors.wire import duration, timestamp
from horde.curation.neighbours.release_bucket import CHECKSUMS, File
from horde.services.tokens import key_id_of

HOUR: Final = timedelta(hours=1)
STATES: Final = {
    State.BUILDING: pb.DATA_RELEASE_STATE_BUILDING,
    State.FINISHED: pb.DATA_RELEASE_STATE_FINISHED,
    State.FAILED: pb.DATA_RELEASE_STATE_FAILED,
}
EXCLUSIONS: Final = {
    "withdrawn": pb.RELEASE_EXCLUSION_REASON_WITHDRAWN,
    "unsafe": pb.RELEASE_EXCLUSION_REASON_UNSAFE,
    "undecided": pb.RELEASE_EXCLUSION_REASON_UNSURE,
    "reported": pb.RELEASE_EXCLUSION_REASON_REPORTED,
    "duplicate": pb.RELEASE_EXCLUSION_REASON_DUPLICATE,
    "no_consent": pb.RELEASE_EXCLUSION_REASON_NO_CONSENT,
    "contact_data": pb.RELEASE_EXCLUSION_REASON_CONTACT_DATA,
    "not_text_to_image": pb.RELEASE_EXCLUSION_REASON_NOT_TEXT_TO_IMAGE,
    "damaged": pb.RELEASE_EXCLUSION_REASON_DAMAGED,
    "cooling_off": pb.RELEASE_EXCLUSION_REASON_COOLING_OFF,
    "bad_record": pb.RELEASE_EXCLUSION_REASON_DAMAGED,
}
"""By the builder's own words."""
KINDS: Final = {
    "metadata.parquet": pb.RELEASE_FILE_KIND_METADATA,
    "ratings.parquet": pb.RELEASE_FILE_KIND_RATINGS,
    "removed.parquet": pb.RELEASE_FILE_KIND_REMOVALS,
    CHECKSUMS: pb.RELEASE_FILE_KIND_CHECKSUMS,
    f"{CHECKSUMS}.sig": pb.RELEASE_FILE_KIND_SIGNATURE,
    "signing-key.pem": pb.RELEASE_FILE_KIND_SIGNATURE,
    "README.md": pb.RELEASE_FILE_KIND_CARD,
    "croissant.json": pb.RELEASE_FILE_KIND_CROISSANT,
    "LICENSE": pb.RELEASE_FILE_KIND_LICENSE,
    "stats.json": pb.RELEASE_FILE_KIND_STATISTICS,
    "release.json": pb.RELEASE_FILE_KIND_STATISTICS,
}


def read_create(request: pb.CreateDataReleaseRequest) -> tuple[str, Terms]:
    """What is to be made. Raises InvalidReleaseField."""
    fields, terms = Fields(InvalidReleaseField), request.terms
    if not is_name(request.name):
        fields.add(
            "name", "must be 1 to 64 small letters, digits, '.' and '-', beginning and ending with one of the first"
        )
    asked = Terms(contact_data=terms.include_contact_data, unsure=terms.include_unsure, incremental=terms.incremental)
    hours, images, size = asked.cool_off_hours, terms.images_per_shard or MAX_IMAGES_PER_SHARD, terms.bytes_per_shard
    if terms.HasField("cool_off"):
        seconds, nanos = terms.cool_off.seconds, terms.cool_off.nanos
        if nanos or seconds % HOUR.seconds or not 0 <= seconds <= MAX_COOL_OFF.total_seconds():
            fields.add("terms.cool_off", f"must be whole hours, 0 to {MAX_COOL_OFF // HOUR}")
        hours = seconds // HOUR.seconds
    if not 1 <= images <= MAX_IMAGES_PER_SHARD:
        fields.add("terms.images_per_shard", f"must be 1 to {MAX_IMAGES_PER_SHARD}, or 0 for that")
    if size and (size % MIN_SHARD_BYTES or not MIN_SHARD_BYTES <= size <= MAX_SHARD_BYTES):
        fields.add("terms.bytes_per_shard", "must be whole MiB, 1 to 16,384, or 0 for 1,024")
    fields.check()
    return request.name, Terms(
        hours, images, size or asked.bytes_per_shard, asked.contact_data, asked.unsure, asked.incremental
    )


def write_asked(asked: Asked, progress_images: int = 0) -> pb.DataRelease:
    """A release that is not finished."""
    return pb.DataRelease(
        name=asked.name,
        format_version=FORMAT_VERSION,
        state=STATES[asked.state],
        created_at=timestamp(asked.created_at),
        terms=write_terms(asked.terms),
        license=LICENCE,
        progress_images=progress_images,
        failure=asked.failure,
    )


def write_estimate(estimate: Estimate) -> pb.DataRelease:
    """A release that nobody has asked for yet."""
    return pb.DataRelease(
        name=estimate.name,
        format_version=FORMAT_VERSION,
        created_at=timestamp(estimate.as_of),
        previous_name=estimate.previous,
        cut_off_at=timestamp(estimate.until),
        terms=write_terms(estimate.terms),
        images=estimate.images,
        new_images=estimate.images,
        size_bytes=estimate.size_bytes,
        exclusions=_exclusions(estimate.left_out),
        removals=estimate.removed,
        license=LICENCE,
    )


def write_finished(release: Finished) -> pb.DataRelease:
    """A release that is finished."""
    return pb.DataRelease(
        name=release.name,
        format_version=FORMAT_VERSION,
        state=pb.DATA_RELEASE_STATE_FINISHED,
        created_at=timestamp(release.as_of),
        finished_at=timestamp(release.finished_at),
        previous_name=release.previous,
        cut_off_at=timestamp(release.until),
        terms=write_terms(release.terms),
        images=release.images,
        new_images=release.images,
        size_bytes=release.size_bytes,
        shards=release.shards,
        ratings=release.ratings,
        exclusions=_exclusions(release.left_out),
        removals=release.removed,
        manifest_sha256=bytes.fromhex(release.checksums_sha256),
        signature=_raw(release.signature),
        signing_key_id=_key_id(release.signing_key),
        license=LICENCE,
    )


def write_terms(terms: Terms) -> pb.ReleaseTerms:
    """The terms, all of them said."""
    return pb.ReleaseTerms(
        cool_off=duration(terms.cool_off_hours * HOUR),
        images_per_shard=terms.images_per_shard,
        bytes_per_shard=terms.bytes_per_shard,
        include_contact_data=terms.contact_data,
        include_unsure=terms.unsure,
        incremental=terms.incremental,
    )


def write_file(release: str, file: File) -> pb.ReleaseFile:
    """A file, without a way to it."""
    return pb.ReleaseFile(
        path=file.path,
        kind=kind_of(file.path),
        sha256=bytes.fromhex(file.sha256),
        size_bytes=file.size_bytes,
        first_release_name=release,
    )


def kind_of(path: str) -> pb.ReleaseFileKind.ValueType:
    """What a file is, by its path."""
    if path.startswith("shards/"):
        return pb.RELEASE_FILE_KIND_SHARD if path.endswith(".tar") else pb.RELEASE_FILE_KIND_SHARD_METADATA
    if path.startswith("plots/") or path.endswith(".jpg"):
        return pb.RELEASE_FILE_KIND_PICTURE
    return KINDS.get(path, pb.RELEASE_FILE_KIND_UNSPECIFIED)


def write_removal(removal: Removal, release: str) -> pb.ReleaseRemoval:
    """An image that is to be taken out."""
    return pb.ReleaseRemoval(
        image_id=removal.image_id,
        release_name=release,
        removed_at=timestamp(removal.removed_at),
        reason=pb.RELEASE_REMOVAL_REASON_MODERATED if removal.moderated else pb.RELEASE_REMOVAL_REASON_WITHDRAWN,
        sha256=bytes.fromhex(removal.sha256),
    )


def _exclusions(left_out: Mapping[str, int]) -> list[pb.ReleaseExclusion]:
    """Most frequent first."""
    counted: dict[pb.ReleaseExclusionReason.ValueType, int] = {}
    for reason, images in left_out.items():
        named = EXCLUSIONS.get(reason, pb.RELEASE_EXCLUSION_REASON_UNSPECIFIED)
        counted[named] = counted.get(named, 0) + images
    most_first = sorted(counted.items(), key=lambda found: (-found[1], found[0]))
    return [pb.ReleaseExclusion(reason=reason, images=images) for reason, images in most_first]


def _raw(signature: bytes) -> bytes:
    """64 bytes, however they are kept."""
    return signature if len(signature) in (0, 64) else base64.b64decode(signature)


def _key_id(pem: bytes) -> str:
    if not pem:
        return ""
    key = load_pem_public_key(pem)
    return key_id_of(key) if isinstance(key, Ed25519PublicKey) else ""
