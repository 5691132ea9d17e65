"""The columns of a release's metadata: each with its type, its unit and when it is null. Card, Croissant and Parquet
are made of this table.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from horde.data_releases.core.contact import find_contact_data
from horde.data_releases.core.pseudonyms import Pseudonyms
from horde.data_releases.core.records import SharedRecord, Verdict

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
LICENCE: Final = "CC0-1.0"
TRAINING_MINING: Final = {
    "data_mining": "allowed",
    "ai_inference": "allowed",
    "ai_generative_training": "allowed",
    "ai_training": "allowed",
}
"""What the requester's consent allows, in the four entries of the training-and-data-mining assertion."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `kind` is Arrow's name of the type; of a `list<…>` or `struct<…>` a short form of it."""

    name: str
    kind: str
    meaning: str
    unit: str = ""
    null: str = "never"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image lies in a release."""

    shard: str
    tar_offset: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What the builder itself found out about an image."""

    sha256: str
    size_bytes: int
    phash: str
    near_duplicate_of: str | None


UNKNOWN: Final = "where the mesh was not told"

COLUMNS: Final = (
    Column("id", "string", "the image's id; the key of its files in the shard, and in ratings and removals"),
    Column("file_name", "string", "the image's name in the shard"),
    Column("shard", "string", "the shard that holds it, from the release's top"),
    Column("tar_offset", "int64", "where the image's bytes begin in the shard, for reads of a range", "bytes"),
    Column("bytes", "int64", "size of the released file", "bytes"),
    Column("sha256", "string", "SHA-256 of the released file, which holds its provenance", "hexadecimal"),
    Column("source_sha256", "string", "SHA-256 of the file as it was painted", "hexadecimal"),
    Column("phash", "string", "perceptual hash, 64 bit, as `imagehash.phash` makes it", "hexadecimal"),
    Column("near_duplicate_of", "string", "an earlier image whose perceptual hash differs in few bits", null="none"),
    Column("source_format", "string", "what it was painted as; what was no `WEBP` became one, pixel for pixel"),
    Column("width", "int32", "width", "pixels"),
    Column("height", "int32", "height", "pixels"),
    Column("prompt", "string", "what was asked for"),
    Column("negative_prompt", "string", "what to stay away from; empty: nothing"),
    Column("contact_data", "list<string>", "kinds of contact data found in the prompts; empty: none found"),
    Column("seed", "int64", "the seed; 0 to 2^63-1", null=UNKNOWN),
    Column("seed_text", "string", "the seed, for readers that keep numbers as floats", null=UNKNOWN),
    Column("steps", "int32", "sampling steps", "steps"),
    Column("guidance_scale", "float64", "classifier-free guidance", null="the model's own, and not told"),
    Column("sampler", "string", "the sampler", null="the model's own, and not told"),
    Column("schedule", "string", "the noise schedule", null="the model's own, and not told"),
    Column("clip_skip", "int32", "layers left out at the text encoder's end", "layers"),
    Column("loras", "list<struct<name,strength>>", "LoRAs, in order; a strength of 1 is its author's intention"),
    Column("textual_inversions", "list<string>", "names of textual inversions, in order"),
    Column("hires_fix", "bool", "whether it was painted small first"),
    Column("tiling", "bool", "whether its edges fit each other"),
    Column("post_processors", "list<string>", "post-processors, in order"),
    Column("model", "string", "the model's name in the mesh's catalogue"),
    Column("model_hash", "string", "SHA-256 of the model's weights", "hexadecimal", UNKNOWN),
    Column("engine", "string", "the program that painted, with its version", null=UNKNOWN),
    Column("precision", "string", "of the numbers it was computed with", null=UNKNOWN),
    Column("device_class", "string", "the class of the device that painted; never a serial number", null=UNKNOWN),
    Column("deviations", "list<struct<kind,field,asked,done>>", "what was done otherwise than asked"),
    Column("created_at", "timestamp[ms, tz=UTC]", "when it was asked for, cut to the hour", "time"),
    Column("user_type", "string", "`registered` or `anonymous`"),
    Column("requester", "string", "pseudonym of the requester, another one in each release", null=UNKNOWN),
    Column("worker", "string", "pseudonym of the worker, another one in each release", null=UNKNOWN),
    Column("moderation", "string", "moderation's verdict", null="where nobody has looked at it"),
    Column("licence", "string", "SPDX name of the licence"),
    Column("consent_text_version", "string", "which text the requester agreed to"),
    Column("consent_at", "timestamp[ms, tz=UTC]", "when the requester agreed, cut to the hour", "time"),
    Column("consent_how", "string", "`asked` (the request said share) or `anonymous rule`"),
    Column("provenance", "string", "what the file itself says of its making: `xmp`, or `c2pa` beside it"),
    Column(
        "training_mining",
        "struct<data_mining,ai_inference,ai_generative_training,ai_training>",
        "what the consent allows, each `allowed`, `notAllowed` or `constrained`",
    ),
)

RATING_COLUMNS: Final = (
    Column("id", "string", "the image's id"),
    Column("rater", "string", "pseudonym of the rater, another one in each release"),
    Column("rating", "int32", "how beautiful it is, 1 to 10", null="not rated so"),
    Column("artifacts", "int32", "how damaged it is, 0 (flawless) to 5", null="not rated so"),
    Column("rated_at", "timestamp[ms, tz=UTC]", "when, cut to the hour", "time"),
    Column("weight", "float64", "how far the rater is known to see what others see; 1 is in full", null="not known"),
)

REMOVED_COLUMNS: Final = (
    Column("id", "string", "the image's id"),
    Column("release_id", "string", "the release that has it"),
    Column("shard", "string", "the shard that has it, from that release's top"),
    Column("sha256", "string", "SHA-256 of the released file", "hexadecimal"),
    Column("reason", "string", "`withdrawn` (by its requester) or `moderated` (found unsafe)"),
    Column("withdrawn_at", "timestamp[ms, tz=UTC]", "when that was, cut to the hour", "time"),
)


class BadRow(ValueError):
    """The record says something that its column cannot hold; the message names the column."""


def _check(row: Mapping[str, Any]) -> None:
    """Raises BadRow unless each value is of its column's type: one that is not would end the whole release."""
    for column in COLUMNS:
        value = row[column.name]
        if not (column.null != "never" if value is None else _fits(value, column.kind)):
            raise BadRow(column.name)


def _fits(value: Any, kind: str) -> bool:
    outer, _, inner = kind.removesuffix(">").partition("<")
    match outer:
        case "string":
            # Halves of a pair of surrogates can be in JSON, and in no file.
            return isinstance(value, str) and not _SURROGATE.search(value)
        case "int32" | "int64":
            return type(value) is int and -(1 << int(outer[3:]) - 1) <= value < 1 << int(outer[3:]) - 1
        case "float64":
            return isinstance(value, float) and math.isfinite(value)
        case "bool":
            return isinstance(value, bool)
        case "list":
            return isinstance(value, list) and all(item is None or _fits(item, inner) for item in value)
        case "struct":
            kinds = {"strength": "float64"}
            return all(
                value[name] is None or _fits(value[name], kinds.get(name, "string")) for name in inner.split(",")
            )
        case _:
            return isinstance(value, datetime)


def describe(
    record: SharedRecord, measured: Measured, place: Place, verdict: Verdict | None, names: Pseudonyms, provenance: str
) -> dict[str, Any]:
    """The row of an image. Raises BadRow where the record says what no column holds."""
    try:
        row = _row(record, measured, place, verdict, names, provenance)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise BadRow(f"{type(error).__name__}: {error}") from error
    _check(row)
    return row


def _row(
    record: SharedRecord, measured: Measured, place: Place, verdict: Verdict | None, names: Pseudonyms, provenance: str
) -> dict[str, Any]:
    image, made = record.image, record.made
    asked_at = _hour(record.consent.when)
    return {
        "id": record.id,
        "file_name": record.released_name,
        "shard": place.shard,
        "tar_offset": place.tar_offset,
        "bytes": measured.size_bytes,
        "sha256": measured.sha256,
        "source_sha256": record.sha256,
        "phash": measured.phash,
        "near_duplicate_of": measured.near_duplicate_of,
        "source_format": record.format,
        "width": record.width,
        "height": record.height,
        "prompt": record.prompt,
        "negative_prompt": record.negative_prompt,
        "contact_data": sorted({*find_contact_data(record.prompt), *find_contact_data(record.negative_prompt)}),
        "seed": None if image.get("seed") is None else int(image["seed"]),
        "seed_text": None if image.get("seed") is None else str(image["seed"]),
        "steps": int(image.get("steps", 0)),
        "guidance_scale": _resolved(image, made, "guidance_scale"),
        "sampler": _enum(image.get("sampler"), "SAMPLER_") or _enum(made.get("sampler"), "SAMPLER_"),
        "schedule": _enum(image.get("schedule"), "NOISE_SCHEDULE_") or _enum(made.get("schedule"), "NOISE_SCHEDULE_"),
        "clip_skip": int(image.get("clip_skip", 0)),
        "loras": [
            {"name": str(lora.get("name", "")), "strength": float(lora.get("strength", 0.0))}
            for lora in image.get("loras", ())
        ],
        "textual_inversions": [str(inversion.get("name", "")) for inversion in image.get("textual_inversions", ())],
        "hires_fix": "hires_fix" in image,
        "tiling": bool(image.get("tiling", False)),
        "post_processors": [_enum(name, "POST_PROCESSOR_") for name in image.get("post_processors", ())],
        "model": record.model,
        "model_hash": _hexadecimal(made.get("model_sha256")),
        "engine": made.get("engine"),
        "precision": made.get("precision"),
        "device_class": made.get("device_class"),
        "deviations": [_deviation(deviation) for deviation in record.deviations],
        "created_at": asked_at,
        "user_type": record.consent.who_class,
        "requester": names.of("requester", record.requester),
        "worker": names.of("worker", record.worker),
        "moderation": verdict or record.verdict,
        "licence": LICENCE,
        "consent_text_version": record.consent.text_version,
        "consent_at": asked_at,
        "consent_how": record.consent.how,
        "provenance": provenance,
        "training_mining": dict(TRAINING_MINING),
    }


def _deviation(deviation: Mapping[str, str]) -> dict[str, str | None]:
    return {
        "kind": _enum(deviation.get("kind"), "DEVIATION_KIND_"),
        **{name: deviation.get(name, "") for name in ("field", "asked", "done")},
    }


def _resolved(image: Mapping[str, Any], made: Mapping[str, Any], name: str) -> float | None:
    """A number as it was asked for, else as the worker says that it was."""
    value = image.get(name, made.get(name))
    return None if value is None else float(value)


def _enum(name: str | int | None, prefix: str) -> str | None:
    """A name of the contract. What was newer than it when the record was written is a number, and not told."""
    known = isinstance(name, str) and not name.endswith("UNSPECIFIED")
    return str(name).removeprefix(prefix).lower() if known else None


def _hexadecimal(coded: str | None) -> str | None:
    """Bytes as JSON has them, for people."""
    return base64.b64decode(coded).hex() if coded else None


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
