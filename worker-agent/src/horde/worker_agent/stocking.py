"""The models of this machine: `python -m horde.worker_agent.stocking list`.

`list`, `add NAME PLACE [--sha256 HEX]`, `remove NAME`, `suggest`, then the worker's own options. A place is a folder, a
`.safetensors` file, or a URL of such a file (with its digest) or of a `catalogue.json`, which lists the model's files
with theirs; none: the model that comes along. A worker that runs takes up what is added, and lets go what is removed.
`suggest` says what the mesh has work for, and what that would earn. Ends with 1 if it cannot be done.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from horde.services.errors import ServiceError
from horde.services.settings import load_or_exit
from horde.worker_agent.control import FILE as CONTROL
from horde.worker_agent.core.catalogue import mib
from horde.worker_agent.core.suggesting import lines, ranked
from horde.worker_agent.library import CannotAdd, library_of
from horde.worker_agent.painters.choice import named_models
from horde.worker_agent.painters.models import DEFAULT_MODEL, BadModel
from horde.worker_agent.settings import WorkerSettings, find_config
from horde.worker_agent.suggesting import demands


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is said; 1 if it cannot be done."""
    rest = list(sys.argv[1:] if arguments is None else arguments)
    sha256 = ""
    if "--sha256" in rest[:-1]:
        at = rest.index("--sha256")
        sha256, rest = rest[at + 1].lower(), rest[:at] + rest[at + 2 :]
    as_json = "--json" in rest
    rest = [argument for argument in rest if argument != "--json"]
    words = []
    while rest and not rest[0].startswith("-"):
        words.append(rest.pop(0))
    find_config(rest)
    settings = load_or_exit(WorkerSettings, rest)
    library = library_of(settings)
    try:
        match words:
            case ["suggest"]:
                return _suggest(settings, as_json=as_json)
            case [] | ["list"]:
                shown = library.entries()
            case ["add", name, *_] if name in {part.partition("=")[0].strip() for part in settings.models.split(",")}:
                # Two of a name, and the worker would not start.
                raise CannotAdd(f"the settings name a model {name} already: take another name")
            case ["add", name] if name == DEFAULT_MODEL:
                shown = [library.add(name, "")]
            case ["add", name, place]:
                alone = not settings.models and not library.setting()
                shown = [library.add(name, place, sha256)]
                if alone:
                    _say(f"{DEFAULT_MODEL}, which comes along, is served no more; `add {DEFAULT_MODEL}` keeps it")
            case ["remove", name]:
                shown = [library.remove(name)]
                if not settings.models and not library.setting():
                    _say(f"{DEFAULT_MODEL}, which comes along, is served again")
            case _:
                sys.stderr.write("error: list, add NAME PLACE [--sha256 HEX], remove NAME, or suggest\n")
                return 2
    except (BadModel, CannotAdd, ServiceError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("broken off; the same command goes on from here\n")
        return 130
    if words[:1] in (["add"], ["remove"]) and (settings.home / CONTROL).exists():
        _say("the worker that runs hears of it in a few seconds")
    if as_json:
        sys.stdout.write(json.dumps([library.described(entry) for entry in shown], indent=2) + os.linesep)
    elif not shown and not settings.models:
        sys.stdout.write(f"Nothing is added. It paints with {DEFAULT_MODEL}.\n")
    else:
        sys.stdout.write("".join(f"{entry.name:<24} {_in_words(library.described(entry))}\n" for entry in shown))
    return 0


def _suggest(settings: WorkerSettings, *, as_json: bool) -> int:
    """Say what the mesh has work for. Raises BadModel, ServiceError."""
    here = [part.partition("=")[0].strip() for part in named_models(settings).split(",")]
    found = asyncio.run(demands(settings, [name or DEFAULT_MODEL for name in here]))
    if as_json:
        sys.stdout.write(json.dumps([asdict(demand) for demand in ranked(found)], indent=2) + os.linesep)
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines(found)))
    return 0


def _in_words(entry: dict[str, object]) -> str:
    if entry["whole"] or "bytes" not in entry:
        return str(entry["place"] or "comes along")
    return (
        f"in part: {mib(int(str(entry['bytes'])))}, for {entry['kept_days']} days more; "
        f"add it again from {entry['origin']} to go on, remove it to be rid of it"
    )


def _say(words: str) -> None:
    sys.stderr.write(f"note: {words}\n")


if __name__ == "__main__":
    sys.exit(main())
