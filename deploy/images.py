"""Builds the images, says how large they are, and writes a bill of materials for each: `make images`.

python deploy/images.py                                  # all but the worker's, which holds torch
python deploy/images.py gateway worker -- --pull=never   # some; what follows `--` is for the engine

Podman or Docker, whichever is there. An image is called horde-TARGET and tagged with the chart's version.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import yaml

HERE: Final = Path(__file__).resolve().parent
DOCKERFILE: Final = HERE / "Dockerfile"
BILLS: Final = HERE.parent / "build" / "sbom"
VERSION: Final = str(yaml.safe_load((HERE / "helm" / "horde-mesh" / "Chart.yaml").read_text())["appVersion"])
LARGE: Final = "worker"
# Fetched when it is needed: twenty packages that nothing else here wants.
CYCLONEDX: Final = (
    str(Path(sys.executable).with_name("uv")),
    "tool",
    "run",
    "-q",
    "--from",
    "cyclonedx-bom==7.5.0",
    "cyclonedx-py",
)


def targets() -> list[str]:
    """What the Dockerfile can make."""
    return re.findall(r"^FROM base AS (\S+)$", DOCKERFILE.read_text(), re.M)


def base() -> str:
    """The image that all others stand on."""
    return re.findall(r"^FROM (\S+) AS base$", DOCKERFILE.read_text(), re.M)[0]


def asked(engine: str, *words: str) -> str:
    """What the engine answers."""
    return subprocess.run([engine, *words], check=True, capture_output=True, text=True).stdout


def size_megabytes(engine: str, image: str) -> float:
    """How large an image is, with what it stands on."""
    return int(asked(engine, "image", "inspect", "--format", "{{.Size}}", image)) / 1e6


def build(engine: str, target: str, options: list[str]) -> str:
    """Build one image; its name."""
    image = f"horde-{target}:{VERSION}"
    arguments = ["build", "-q", "-f", str(DOCKERFILE), "--target", target, "-t", image, *options, str(HERE.parent)]
    subprocess.run([engine, *arguments], check=True, stdout=subprocess.DEVNULL)
    return image


def bill(engine: str, image: str, target: str) -> Path:
    """Write what is in an image, in CycloneDX: everything is of the lock, whose part the image holds."""
    part = asked(
        engine, "run", "--rm", "--network", "none", "--entrypoint", "cat", image, "/opt/horde/requirements.lock"
    )
    path = BILLS / f"horde-{target}.cdx.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [*CYCLONEDX, "requirements", "--output-reproducible", "-o", path, "-"], input=part, check=True, text=True
    )
    return path


def main(words: list[str]) -> int:
    """Build, weigh, write."""
    engine = shutil.which("podman") or shutil.which("docker")
    if engine is None:
        sys.stderr.write("neither podman nor docker is here\n")
        return 2
    cut = words.index("--") if "--" in words else len(words)
    wanted, options = words[:cut], words[cut + 1 :]
    chosen = wanted or [target for target in targets() if target != LARGE]
    for target in chosen:
        image = build(engine, target, options)
        above = size_megabytes(engine, image) - size_megabytes(engine, base())
        print(f"{image:32} {above:6.0f} MB above {base()}, {bill(engine, image, target)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
