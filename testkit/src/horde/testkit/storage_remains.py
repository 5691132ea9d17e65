"""What lies in the buckets of a local mesh, counted by itself, and what the auditor, run as by an operator, says."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from horde.buckets.tails import find_tail
from horde.cli.local.mesh import LocalMesh
from horde.cli.local.processes import environment
from horde.cli.local.roles import Role
from horde.testkit.s3 import ThrowawayS3

BUCKETS: Final = ("horde-private", "horde-shared")
PLANTED: Final = ["missing_image", "orphan", "stranger"]
"""The kinds of what `plant` plants."""


@dataclass(frozen=True, slots=True)
class Left:
    """What lies in the buckets at the end, counted without the auditor."""

    shared: set[str]
    """Jobs that have an image in the shared bucket."""
    others: list[str]
    """Further names there that are neither an image nor its record nor a note."""
    private: int
    quarantine: int


class Remains:
    """The buckets, folders or those of an S3 server."""

    def __init__(self, mesh: LocalMesh, s3: ThrowawayS3 | None, folder: Path) -> None:
        self._mesh = mesh
        self._s3 = s3
        self._folder = folder

    async def audit(self) -> list[dict[str, Any]]:
        """What the auditor finds, as a process with its own credential."""
        status, findings = await asyncio.to_thread(self._audit)
        assert (status == 0) is (findings == []), (status, findings)
        return findings

    def _audit(self) -> tuple[int, list[dict[str, Any]]]:
        remains = {
            "SCHEDULER": self._mesh.layout.address(Role.SCHEDULER),
            "KEY_FILE": str(self._mesh.layout.key_file),
            "STATE_DIR": str(self._folder / "auditor"),
            "SETTLE_SECONDS": "0",
        }
        if self._s3 is None:
            remains |= {
                "SHARED_DIR": str(self._mesh.layout.shared_bucket),
                "PRIVATE_DIR": str(self._mesh.layout.private_bucket),
            }
        else:
            secret = self._folder / "auditor.secret"
            secret.write_text(self._s3.secret("auditor"))
            remains |= {
                "S3_ENDPOINT": self._s3.endpoint,
                "S3_SECURE": "false",
                "ACCESS_KEY": self._s3.access_key("auditor"),
                "SECRET_FILE": str(secret),
            }
        settings = {f"HORDE_AUDITOR_{name}": value for name, value in remains.items()}
        ran = subprocess.run(
            [sys.executable, "-m", "horde.auditor", "--deep", "--json"],
            env={**environment(), **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode not in (0, 1):
            raise AssertionError(ran.stdout + ran.stderr)
        document = json.loads(ran.stdout)
        assert document["more"] == 0, document
        found: list[dict[str, Any]] = document["findings"]
        return ran.returncode, found

    def left(self) -> Left:
        """Count what lies there."""
        shared, private = (self._names(bucket) for bucket in ("shared", "private"))
        pictures = [name for name in shared if name.startswith("images/") and not name.endswith(".json")]
        known = ("images/", "journal/", "withdrawals/", "withdrawn/", "moderation/")
        return Left(
            {name.removeprefix("images/").partition(".")[0] for name in pictures},
            [name for name in shared if not name.startswith(known)],
            sum(name.startswith("images/") for name in private),
            sum(name.startswith("quarantine/") for name in private),
        )

    def files_of(self, job_id: str) -> list[str]:
        """What lies in the shared bucket of a job."""
        return [name for name in self._names("shared") if job_id in name]

    def plant(self, job_id: str) -> None:
        """Three faults, to prove that the auditor looks: a stranger, an orphan, and that job without its image."""
        victim = f"images/{job_id}."
        (gone,) = [name for name in self._names("shared") if name.startswith(victim) and not name.endswith(".json")]
        orphan = f"images/{'ab' * 16}"
        stranger = f"images/{'0' * 8}-0000-5000-8000-{'0' * 12}.webp"
        if self._s3 is not None:
            admin = self._s3.admin()
            admin.remove_object(BUCKETS[1], gone)
            admin.put_object(BUCKETS[1], stranger, io.BytesIO(b"x"), 1)
            admin.put_object(BUCKETS[0], orphan, io.BytesIO(b"x"), 1)
            return
        (self._mesh.layout.shared_bucket / gone).unlink()
        (self._mesh.layout.shared_bucket / stranger).write_bytes(b"x")
        (self._mesh.layout.private_bucket / orphan).write_bytes(b"x")

    def _names(self, bucket: str) -> Sequence[str]:
        if self._s3 is not None:
            return [found.name for found in self._s3.objects(f"horde-{bucket}") if not is_sign(found.name, found.size)]
        layout = self._mesh.layout
        root = layout.shared_bucket if bucket == "shared" else layout.private_bucket
        return [
            f"{Path(folder).relative_to(root)}/{name.replace('!', '/')}"
            for folder, _, names in os.walk(root)
            for name in names
            if not Path(folder).name.startswith(".")
            and not is_sign(f"{Path(folder).name}/", _content_size(Path(folder, name)))
        ]


def is_sign(name: str, size_bytes: int) -> bool:
    """Whether an object of the private bucket is the sign of a closed lease: nothing of a picture."""
    return name.startswith("quarantine/") and not size_bytes


def _content_size(path: Path) -> int:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return 0
    tail = find_tail(content)
    return len(content) if tail is None else tail.size_bytes
