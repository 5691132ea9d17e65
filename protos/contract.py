"""Hold the contracts to their committed image, `contract.binpb`: nobody breaks them without a word.

`python protos/contract.py --check` fails if what everybody may use breaks a file, an RPC, a message or a field of the
image (`buf.yaml`), if what services say to each other is not understood one version back (`buf.internal.yaml`), or if
the image is not that of the contracts. `python protos/contract.py --renew` writes it anew. It asks for a line in
CHANGELOG.md that was added since the image was last committed; where something breaks, for one that begins with
`- Break:`. Run it with the interpreter that has the `dev` extra. Nothing is fetched.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
IMAGE = PROTOS / "contract.binpb"
RULES = ("buf.yaml", "buf.internal.yaml")


def buf(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run buf, which lies beside this interpreter."""
    return subprocess.run(
        [Path(sys.executable).parent / "buf", *arguments], capture_output=True, text=True, check=False
    )


def build(out: Path, protos: Path = PROTOS) -> Path:
    """Write the image of the contracts as they are: no comments, so that better words need no new one."""
    answer = buf("build", str(protos), "--exclude-source-info", "-o", str(out))
    if answer.returncode:
        sys.exit(answer.stderr)
    return out


def breaks(image: Path, before: Path = IMAGE) -> list[str]:
    """What an image breaks of the one before, one line each, naming file, line and rule."""
    found = []
    for rules in RULES:
        answer = buf("breaking", str(image), "--against", str(before), "--config", str(PROTOS / rules))
        found += (answer.stdout + answer.stderr).splitlines() if answer.returncode else []
    return found


def lines_added() -> list[str]:
    """Lines of CHANGELOG.md that came since the image was last committed."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=PROTOS.parent, capture_output=True, text=True, check=True).stdout

    since = git("log", "-1", "--format=%H", "--", str(IMAGE)).strip()
    if not since:
        return (PROTOS.parent / "CHANGELOG.md").read_text("utf-8").splitlines()
    diff = git("diff", "-U0", since, "--", "CHANGELOG.md").splitlines()
    return [line[1:] for line in diff if line.startswith("+") and not line.startswith("+++")]


def check() -> int:
    """Say what is wrong; 0 if nothing is."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = build(Path(scratch) / IMAGE.name)
        broken, stale = breaks(fresh), not filecmp.cmp(fresh, IMAGE, shallow=False)
    for line in broken:
        print(line, file=sys.stderr)
    if stale and not broken:
        print("protos/contract.binpb is not the image of the contracts: make contract-image", file=sys.stderr)
    return int(bool(broken) or stale)


def renew() -> int:
    """Write the image, if the CHANGELOG says what changed."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = build(Path(scratch) / IMAGE.name)
        broken = breaks(fresh) if IMAGE.exists() else []
        beginning = "- Break:" if broken else "- "
        if not any(line.startswith(beginning) for line in lines_added()):
            for line in broken:
                print(line, file=sys.stderr)
            print(f"say what changed in CHANGELOG.md first, in a line that begins with {beginning!r}", file=sys.stderr)
            return 1
        shutil.copyfile(fresh, IMAGE)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", action="store_true", help="write nothing; fail if something breaks")
    action.add_argument("--renew", action="store_true", help="write the image anew")
    return renew() if parser.parse_args().renew else check()


if __name__ == "__main__":
    sys.exit(main())
