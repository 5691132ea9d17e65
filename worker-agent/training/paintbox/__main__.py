"""Command line: `python -m paintbox train|evaluate|sheet|art`, run in worker-agent/training."""
# ruff: noqa: T201 - a command line tool reports on its progress

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

# A model hub is never asked: everything is in the repository.
os.environ["HF_HUB_OFFLINE"] = "1"

# The folder of this repository that git ignores.
_STATE = Path(__file__).resolve().parents[3] / ".state/paintbox"

# The C library gives freed tensors back to the system and asks for them again, which costs a sixth of the time.
_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}


def main() -> None:
    """Read the arguments and run one command on one core, so that the same seed gives the same bytes."""
    parser = argparse.ArgumentParser(prog="python -m paintbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="go on from the committed model, or start anew with --fresh")
    train.add_argument("--minutes", type=float, default=10.0, help="minutes of painting practice (default 10)")
    train.add_argument("--fresh", action="store_true", help="start from nothing: tokenizer, reading, decoder, painting")
    train.add_argument("--decoder-minutes", type=float, default=None, help="default: 12, or 0 when going on")
    train.add_argument("--revision", default="local", help="name of the result in its catalogue entry")
    train.add_argument("--state", type=Path, default=_STATE, help="where an interrupted run is kept")
    train.add_argument("--out", type=Path, default=None, help="folder to write (default: the committed one)")
    judge = commands.add_parser("evaluate", help="score the committed model on held-out combinations")
    judge.add_argument("--count", type=int, default=240)
    judge.add_argument("--out", type=Path, default=None, help="also write the report to this file")
    look = commands.add_parser("sheet", help="paint the contact sheet")
    look.add_argument("--out", type=Path, default=Path("contact-sheet.png"))
    look.add_argument("--side", type=int, default=128)
    art = commands.add_parser("art", help="copy the drawings out of the unpacked npm package")
    art.add_argument("package", type=Path)
    arguments = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in _ALLOCATOR.items()):
        command = [sys.executable, "-m", "paintbox", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **_ALLOCATOR})  # noqa: S606 - this same program

    import torch

    torch.set_num_threads(1)
    if arguments.command == "train":
        from .course import take_course

        take_course(
            minutes=arguments.minutes,
            fresh=arguments.fresh,
            decoder_minutes=arguments.decoder_minutes,
            revision=arguments.revision,
            state=arguments.state,
            folder=arguments.out,
        )
    elif arguments.command == "evaluate":
        from .evaluate import evaluate
        from .publishing import load_published

        report = json.dumps(evaluate(load_published(), arguments.count), indent=2)
        print(report)
        if arguments.out:
            arguments.out.write_text(report + "\n", encoding="utf-8")
    elif arguments.command == "sheet":
        from .publishing import load_published
        from .sheet import draw_sheet

        sheet = draw_sheet(load_published(), side=arguments.side)
        # Without the two lowest bits nothing looks different, and the file is half as large.
        sheet.point([value & 0xFC for value in range(256)] * 3).save(arguments.out, optimize=True)
    else:
        from .fetch_art import copy_art

        copy_art(arguments.package)


if __name__ == "__main__":
    main()
