"""What buckets and credentials there are to be: read from the files that operators deploy. Pure but for the reading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Document = Mapping[str, Any]

CORS_AGE_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class WantedBucket:
    """A bucket with its rules."""

    name: str
    folder: str
    """Its name where buckets are folders."""
    lifecycle: Sequence[Document]
    """In the form of S3: what the store deletes by itself, as a second belt."""
    cors: Sequence[Document]
    """In the form of S3: which web pages may read by a link."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """All there is to be."""

    buckets: Sequence[WantedBucket]
    policies: Mapping[str, Document]
    """By user, in the form of AWS and MinIO."""


def read_wanted(deploy: Path, origins: Sequence[str], names: Mapping[str, str]) -> Wanted:
    """What the folder says: `buckets.json` and `policies/<user>.json`.

    `origins` are the web pages that may read by a link; `names` are other names for buckets. Raises ValueError for a
    name that stands for none.
    """
    described = json.loads((deploy / "buckets.json").read_text("utf-8"))
    if strangers := names.keys() - described.keys():
        raise ValueError(f"there is no bucket {sorted(strangers)[0]}; there are {', '.join(sorted(described))}")
    buckets = [
        WantedBucket(
            names.get(name, name),
            plain["folder"],
            plain["lifecycle"],
            _cors(["*"] if plain["origins"] == "any" else origins),
        )
        for name, plain in described.items()
    ]
    policies = {
        path.stem: _renamed(json.loads(path.read_text("utf-8")), names)
        for path in sorted((deploy / "policies").glob("*.json"))
    }
    return Wanted(buckets, policies)


def same_policy(one: Document, other: Document) -> bool:
    """Whether two say the same: a store may write a list of one as one, and in another order."""
    return _plain(one) == _plain(other)


def _plain(policy: Document) -> list[tuple[str, list[str], list[str]]]:
    return sorted(
        (statement["Effect"], _list(statement["Action"]), _list(statement["Resource"]))
        for statement in policy["Statement"]
    )


def _list(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else sorted(value)


def _cors(origins: Sequence[str]) -> Sequence[Document]:
    if not origins:
        return []
    return [
        {
            "AllowedHeaders": ["*"],
            "AllowedMethods": ["GET", "HEAD"],
            "AllowedOrigins": list(origins),
            "MaxAgeSeconds": CORS_AGE_SECONDS,
        }
    ]


def _renamed(policy: Document, names: Mapping[str, str]) -> Document:
    """A policy of buckets of these names."""
    renamed: Document = json.loads(json.dumps(policy))
    for statement in renamed["Statement"]:
        places = []
        for resource in statement["Resource"]:
            arn, _, place = resource.rpartition(":")
            bucket, slash, rest = place.partition("/")
            places.append(f"{arn}:{names.get(bucket, bucket)}{slash}{rest}")
        statement["Resource"] = places
    return renamed
