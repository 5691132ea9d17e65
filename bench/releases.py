"""Data releases of many small images: images a second, peak memory, what the next release costs, and three kills.

    python bench/releases.py --images 100000

Makes a shared bucket in a folder as the storage router lays it out, builds a release from it in processes of its own,
shares 1 % more and withdraws 0.1 %, builds the next; then the first once more, elsewhere, killed three times with
SIGKILL, and compares every byte.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image

START = datetime(2026, 11, 1, tzinfo=UTC)
PREFIX = "HORDE_DATA_RELEASES_"
IMAGES_AN_HOUR = 2_000


def job_id(number: int) -> str:
    return f"9b2d8c1e-0000-5000-8000-{number:012x}"


def share(bucket: Path, numbers: range, begin: datetime) -> datetime:
    """Images of 64 x 64 pixels, no two alike, with their records and entries; returns the hour after the last."""
    hour = begin
    for number in numbers:
        hour = begin + timedelta(hours=(number - numbers.start) // IMAGES_AN_HOUR)
        noise = random.Random(number)
        picture = Image.frombytes("RGB", (8, 8), noise.randbytes(192)).resize((64, 64))
        out = io.BytesIO()
        picture.save(out, "WEBP", quality=80, method=0)
        data = out.getvalue()
        record = {
            "version": 1,
            "job_id": job_id(number),
            "image": {
                "file": f"{job_id(number)}.webp",
                "sha256": hashlib.sha256(data).hexdigest(),
                "size_bytes": len(data),
                "format": "WEBP",
                "width": 64,
                "height": 64,
            },
            "consent": {
                "who_class": "registered",
                "when": hour.isoformat(),
                "text_version": "2026-11",
                "how": "asked",
            },
            "spec": {
                "model": "paintbox",
                "image": {"prompt": f"a red door, number {number}", "steps": 20, "seed": str(number)},
            },
            "deviations": [],
        }
        (bucket / "images" / f"{job_id(number)}.json").write_text(json.dumps(record))
        (bucket / "images" / f"{job_id(number)}.webp").write_bytes(data)
        entries = bucket / "journal" / f"{hour:%Y-%m-%dT%H}"
        entries.mkdir(parents=True, exist_ok=True)
        (entries / job_id(number)).touch()
    return hour + timedelta(hours=1)


def withdraw(bucket: Path, numbers: list[int], hour: datetime) -> None:
    """As the storage router does it."""
    entries = bucket / "withdrawals" / f"{hour:%Y-%m-%dT%H}"
    entries.mkdir(parents=True, exist_ok=True)
    (bucket / "withdrawn").mkdir(exist_ok=True)
    for number in numbers:
        (entries / job_id(number)).touch()
        (bucket / "withdrawn" / f"{job_id(number)}.json").write_text("{}")
        for ending in ("webp", "json"):
            (bucket / "images" / f"{job_id(number)}.{ending}").unlink()


def build(
    home: Path, out: Path, name: str, as_of: datetime, *options: str, kill_after: float = 0.0
) -> tuple[float, int]:
    """Seconds, and the peak of resident memory in KiB; with `kill_after`, it is killed then."""
    settings = {
        "SHARED_DIR": home / "shared",
        "RELEASES_DIR": out / "releases",
        "STATE_DIR": out / "state",
        "SIGNING_KEY_FILE": home / "signing.key",
        "PSEUDONYM_KEY_FILE": home / "pseudonyms.key",
        "LOG_LEVEL": "warning",
    }
    environment = {**os.environ, **{PREFIX + key: str(value) for key, value in settings.items()}}
    when = as_of.strftime("%Y-%m-%dT%H:%M:%S+0000")
    command = [sys.executable, "-m", "horde.data_releases", "create", name, "--as-of", when, *options]
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = max(peak, *(int(size) for size in re.findall(r"VmHWM:\s+(\d+)", status)), 0)
        except (OSError, TypeError):
            pass
        if kill_after and time.monotonic() - began > kill_after:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.05)
    expected = (0, -signal.SIGKILL) if kill_after else (0,)
    assert process.returncode in expected, process.returncode
    return time.monotonic() - began, peak


def digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as opened:
                found[str(path.relative_to(folder))] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    arguments = parser.parse_args()
    count = arguments.images
    home = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        (home / "shared" / "images").mkdir(parents=True)
        after = share(home / "shared", range(count), START)
        as_of = after + timedelta(days=7, hours=1)
        seconds, peak = build(home, home / "quiet", "r1", as_of)
        print(f"full: {count} images in {seconds:.1f} s, {count / seconds:.0f} a second; peak {peak / 1024:.0f} MiB")
        killed = 0
        for part in (0.2, 0.35, 0.3):
            took, _ = build(home, home / "killed", "r1", as_of, kill_after=part * seconds)
            killed += took < seconds
        build(home, home / "killed", "r1", as_of)
        quiet, disturbed = digests(home / "quiet" / "releases"), digests(home / "killed" / "releases")
        others = sorted(name for name in {*quiet, *disturbed} if quiet.get(name) != disturbed.get(name))
        print(f"killed {killed} times: {f'OTHER BYTES in {others[:10]}' if others else 'every byte the same'}")
        after = share(home / "shared", range(count, count + count // 100), after)
        withdraw(home / "shared", list(range(0, count, 1_000)), after)
        as_of = after + timedelta(days=7, hours=1)
        cached, _ = build(home, home / "quiet", "r2", as_of)
        shutil.rmtree(home / "killed" / "state")
        anew, _ = build(home, home / "killed", "r2", as_of)
        print(
            f"next, 1 % new and 0.1 % withdrawn: {cached:.1f} s, {100 * cached / seconds:.1f} % of the full one; "
            f"{anew:.1f} s ({100 * anew / seconds:.1f} %) where the index had to be made again"
        )
        assert not others
        assert digests(home / "quiet" / "releases") == digests(home / "killed" / "releases")
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
