"""Painted images that have no receipt yet, on disk: so that a restart can finish the upload.

One file for each lease: a line of JSON that says what is needed to go on, then the image, whose digest tells whether
the file is whole. The files hold grants and strangers' pictures: the folder is private, and a file is deleted with the
receipt, the revocation or the refusal.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from horde.services.telemetry import get_logger
from horde.worker_agent.core.jobs import Deviation, DeviationKind, JobId, LeaseId, Making, NoiseSchedule, Sampler
from horde.worker_agent.outcomes import file_name, files_in, make_private, remove, write_at_once

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Spooled:
    """A painted image on its way to the router."""

    lease_id: LeaseId
    job_id: JobId
    grant: str
    storage_address: str
    traceparent: str
    steps: int
    sha256: str
    deviations: tuple[Deviation, ...]
    image: bytes
    making: Making | None = None


class Spool:
    """The images that wait for a receipt."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(make_private(folder))

    def put(self, spooled: Spooled) -> None:
        facts = {
            "lease_id": spooled.lease_id,
            "job_id": spooled.job_id,
            "grant": spooled.grant,
            "storage_address": spooled.storage_address,
            "traceparent": spooled.traceparent,
            "steps": spooled.steps,
            "sha256": spooled.sha256,
            "deviations": [asdict(deviation) for deviation in spooled.deviations],
            "making": asdict(spooled.making) if spooled.making else None,
        }
        write_at_once(self._folder, file_name(spooled.lease_id), json.dumps(facts).encode(), b"\n", spooled.image)

    def remove(self, lease_id: LeaseId) -> None:
        """Delete it, if it is there."""
        remove(self._folder, file_name(lease_id))

    def load(self) -> list[Spooled]:
        """Everything that an earlier run left; what is not whole is deleted."""
        found = []
        for name, content in files_in(self._folder):
            try:
                found.append(_read(content))
            except (ValueError, KeyError, TypeError) as error:
                log.warning("an image on disk is not whole and is dropped", file=name, why=str(error))
                remove(self._folder, name)
        return found


def _read(content: bytes) -> Spooled:
    line, _, image = content.partition(b"\n")
    facts = json.loads(line)
    if hashlib.sha256(image).hexdigest() != facts["sha256"]:
        raise ValueError("the image is not the one that was painted")
    deviations = tuple(
        Deviation(DeviationKind(deviation["kind"]), deviation["field"], deviation["asked"], deviation["done"])
        for deviation in facts.pop("deviations")
    )
    making = facts.pop("making", None)
    if making is not None:
        sampler, schedule = Sampler(making.pop("sampler")), NoiseSchedule(making.pop("schedule"))
        making = Making(sampler, schedule, **making)
    return Spooled(**facts, deviations=deviations, image=image, making=making)
