"""How far the auditor has come and what is wrong, on its own disk: a file that is replaced as a whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from horde.auditor.core.findings import Finding
from horde.auditor.shared_audit import Place

MAX_OPEN: Final = 1_000
"""Findings that are kept; those beyond are counted, and found again when these are mended."""


@dataclass(slots=True)
class Round:
    """A way round a bucket."""

    place: Place
    began_at: datetime
    finished_at: datetime | None = None
    """When the last whole way round was finished that was begun before it."""


@dataclass(slots=True)
class Progress:
    """Where the auditor goes on."""

    ended_ms: int
    """Everything that ended before was looked at, and what ended then up to `ended_job`."""
    ended_job: str
    hour: datetime
    """The first hour of the journals that was not looked at."""
    shared: Round
    private: Round
    open: list[Finding] = field(default_factory=list)
    more: int = 0
    """Findings beyond those that are kept."""

    @classmethod
    def begin(cls, since: datetime, now: datetime) -> Progress:
        """A first look: what ended since is new, all else is passed on the way round."""
        rounds = (Round(Place(), now), Round(Place(), now))
        return cls(int(since.timestamp() * 1000), "", since, *rounds)

    def take(self, found: list[Finding]) -> list[Finding]:
        """Take findings in; gives those that are new."""
        known = {(finding.kind, finding.bucket, finding.key) for finding in self.open}
        fresh: list[Finding] = []
        for finding in found:
            what = (finding.kind, finding.bucket, finding.key)
            if what not in known:
                known.add(what)
                fresh.append(finding)
        room = max(0, MAX_OPEN - len(self.open))
        self.open += fresh[:room]
        self.more += len(fresh) - len(fresh[:room])
        return fresh

    def to_json(self) -> dict[str, Any]:
        return {
            "ended_ms": self.ended_ms,
            "ended_job": self.ended_job,
            "hour": self.hour.isoformat(),
            "shared": _round(self.shared),
            "private": _round(self.private),
            "open": [finding.to_json() for finding in self.open],
            "more": self.more,
        }

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Progress:
        return cls(
            plain["ended_ms"],
            plain["ended_job"],
            datetime.fromisoformat(plain["hour"]),
            _read_round(plain["shared"]),
            _read_round(plain["private"]),
            [Finding.from_json(plain_finding) for plain_finding in plain["open"]],
            plain["more"],
        )


class ProgressFile:
    """The file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "progress.json"

    def load(self) -> Progress | None:
        """What was saved last."""
        if not self._path.exists():
            return None
        return Progress.from_json(json.loads(self._path.read_text("utf-8")))

    def save(self, progress: Progress) -> None:
        """Replace it: whole, or not at all."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._path.with_suffix(".fresh")
        fresh.write_text(json.dumps(progress.to_json(), indent=1), "utf-8")
        fresh.replace(self._path)


def _round(way: Round) -> dict[str, Any]:
    return {
        "place": asdict(way.place),
        "began_at": way.began_at.isoformat(),
        "finished_at": None if way.finished_at is None else way.finished_at.isoformat(),
    }


def _read_round(plain: dict[str, Any]) -> Round:
    finished = plain["finished_at"]
    return Round(
        Place(**plain["place"]),
        datetime.fromisoformat(plain["began_at"]),
        None if finished is None else datetime.fromisoformat(finished),
    )
