"""What records, signs and decisions must say. Each answers with what is wrong; None: nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from horde.auditor.core.keys import ENDINGS
from horde.auditor.core.settled import Settled

VERDICTS: Final = frozenset({"safe", "unsafe", "unsure"})
_HOW: Final = {"registered": "asked", "anonymous": "anonymous rule"}


def wrong_with_record(data: bytes, settled: Settled) -> str | None:
    """Of the record beside a shared image."""
    try:
        record = json.loads(data)
        image, consent, spec = record["image"], record["consent"], record["spec"]
        expected = {
            "job_id": (record["job_id"], settled.job_id),
            "sha256": (image["sha256"], settled.sha256),
            "size_bytes": (image["size_bytes"], settled.size_bytes),
            "format": (image["format"], settled.format),
            "file": (image["file"], f"{settled.job_id}.{ENDINGS[settled.format]}"),
            "how": (consent["how"], _HOW[consent["who_class"]]),
        }
        datetime.fromisoformat(consent["when"])
        if not consent["text_version"] and consent["how"] == "asked":
            return "it names no text that was agreed to"
        if "image" not in spec or _names_input(spec):
            return "it was painted from another picture"
    except (ValueError, KeyError, TypeError) as error:
        return f"it cannot be read: {type(error).__name__}: {error}"[:200]
    return next((f"{name} is {found!r}"[:200] for name, (found, right) in expected.items() if found != right), None)


def wrong_with_sign(data: bytes, job_id: str) -> str | None:
    """Of the sign that an image was withdrawn."""
    try:
        note = _object(data)
        datetime.fromisoformat(note["withdrawn_at"])
        return None if note["job_id"] == job_id else "it names another image"
    except (ValueError, KeyError, TypeError) as error:
        return f"it cannot be read: {type(error).__name__}: {error}"[:200]


def wrong_with_decision(data: bytes) -> str | None:
    """Of what moderation decided."""
    try:
        return None if _object(data)["verdict"] in VERDICTS else "its verdict is none"
    except (ValueError, KeyError, TypeError) as error:
        return f"it cannot be read: {type(error).__name__}: {error}"[:200]


def _object(data: bytes) -> Mapping[str, Any]:
    note = json.loads(data)
    if not isinstance(note, dict):
        raise TypeError("no object")
    return note


def _names_input(spec: Any) -> bool:
    if isinstance(spec, dict):
        return "input_id" in spec or any(map(_names_input, spec.values()))
    return isinstance(spec, list) and any(map(_names_input, spec))
