"""Installs one extra of Horde Mesh into a virtual environment, for an image: exactly what the lock says, by its hashes.

    python deploy/install.py gateway /opt/horde

What it installed stays beside it as `requirements.lock`: what a bill of materials is made of.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
NAME: Final = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?(==[^\\\n]+)")


def locked(lock: str) -> dict[str, str]:
    """Each requirement of the lock with its hashes, by normal name: of one with markers, every version."""
    blocks: dict[str, str] = {}
    for block in re.split(r"(?m)^(?=\S)", lock):
        if (found := NAME.match(block)) is not None:
            blocks[normal(found[1])] = blocks.get(normal(found[1]), "") + block
    return blocks


def constraints(lock: str) -> str:
    """The lock without hashes, which would all have to be fetched, and without extras."""
    found = filter(None, map(NAME.match, lock.splitlines()))
    return "".join(f"{match[1]}{match[2].rstrip()}\n" for match in found)


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def chosen(needed: Sequence[str], lock: str) -> str:
    """The part of the lock that holds what is needed. Raises LookupError for what it does not hold."""
    blocks = locked(lock)
    if missing := sorted(name for name in needed if normal(name) not in blocks):
        raise LookupError(f"not in the lock: {', '.join(missing)}")
    return "".join(blocks[name] for name in sorted(normal(name) for name in needed))


def main(extra: str, place: Path, work: Path) -> None:
    """Install the extra into the environment at this place, which may hold torch already: it is in no lock."""
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--no-cache-dir"]
    lock = (ROOT / "requirements.lock").read_text()
    bounds = work / "constraints.txt"
    bounds.write_text(constraints(lock))
    wheel = next(ROOT.glob("dist/horde_mesh-*.whl"))
    report = work / "report.json"
    asked = [*pip, "install", "-q", "--dry-run", "--report", str(report), "-c", str(bounds), f"{wheel}[{extra}]"]
    subprocess.run(asked, check=True)
    needed = [load["metadata"]["name"] for load in json.loads(report.read_text())["install"]]
    part = place / "requirements.lock"
    part.write_text(chosen([name for name in needed if normal(name) != "horde-mesh"], lock))
    subprocess.run([*pip, "install", "-q", "--require-hashes", "--no-deps", "-r", part], check=True)
    subprocess.run([*pip, "install", "-q", "--no-deps", wheel], check=True)
    if extra != "worker":
        # With it come the weights of the small model, which are half of what a service's image would hold of ours.
        for agent in place.glob("lib/python*/site-packages/horde/worker_agent"):
            shutil.rmtree(agent)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(sys.argv[1], Path(sys.argv[2]), Path(name))
