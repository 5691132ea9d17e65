"""Where things lie: in the bucket of releases, and in one release."""

from __future__ import annotations

import re
from typing import Final

FINISHED: Final = "finished/"
RELEASES: Final = "releases/"
BUILDING: Final = "building/"

CHECKSUMS: Final = "checksums.sha256"
SIGNATURE: Final = "checksums.sha256.sig"
SIGNING_KEY: Final = "signing-key.pem"
METADATA: Final = "metadata.parquet"
RATINGS: Final = "ratings.parquet"
REMOVED: Final = "removed.parquet"
DESCRIPTION: Final = "release.json"
STATISTICS: Final = "stats.json"
CARD: Final = "README.md"
LICENCE: Final = "LICENSE"
CROISSANT: Final = "croissant.json"
CONTACT_SHEET: Final = "contact-sheet.jpg"
PLOTS: Final = "plots/"
SHARDS: Final = "shards/"
PRUNED: Final = "checksums.pruned.sha256"
"""Not in a release: in a researcher's copy from which withdrawn images were taken."""

_ID: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}[a-z0-9]|[a-z0-9]")


def is_release_id(text: str) -> bool:
    """Whether a release may have this name: small letters, digits, `.` and `-`; for example `2026-11.1`."""
    return _ID.fullmatch(text) is not None and ".." not in text


def release(release_id: str, file: str) -> str:
    """A file of a release."""
    return f"{RELEASES}{release_id}/{file}"


def finished(release_id: str) -> str:
    """What says that a release is finished."""
    return f"{FINISHED}{release_id}.json"


def building(release_id: str, file: str) -> str:
    """What a builder writes down for itself, or for the one who goes on after it."""
    return f"{BUILDING}{release_id}/{file}"


def part(release_id: str, number: int) -> str:
    """The note of a part that is done."""
    return building(release_id, f"parts/{number:05}.json")


def shard_name(number: int, volume: int) -> str:
    """A shard, without its ending: `shards/00012`; where a part was too large for one, `shards/00012.1` follows."""
    return f"{SHARDS}{number:05}" + (f".{volume}" if volume else "")
