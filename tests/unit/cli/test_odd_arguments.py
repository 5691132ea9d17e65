"""One table of odd arguments for the whole command line: whatever is typed anywhere is refused by the name of what it
was typed for, or can be sent; nothing ends in a defect.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from grpc import aio

from horde.cli.commands.becoming import BECOMES_ANOTHER
from horde.cli.commands.exits import Exit
from horde.cli.commands.main import main
from horde.cli.commands.wording import OPTIONS, option_for, violation_text
from horde.gateway.core import validation
from horde.services.errors import FieldViolation

ODD = {
    "nothing": "",
    "a space": " ",
    "minus one": "-1",
    "2^31": str(2**31),
    "2^63": str(2**63),
    "2^64": str(2**64),
    "a huge number": "9" * 400,
    "1e400": "1e400",
    "not a number": "nan",
    "infinity": "-inf",
    "hexadecimal": "0x10",
    "half a letter": "\udcff",
    "markup": "[/b][red]",
    "a fox": "🦊",
    "very long": "x" * 20_000,
    "a way up": "../..",
    "two lines": "a\nb",
}
STARTS_SOMETHING = {("up",), ("demo",), ("conform",), ("open",), *(tuple(name.split()) for name in BECOMES_ANOTHER)}
"""Their arguments are read here, and not acted on."""


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(leaves(main))
GOOD = {
    "uuid": "6f1a3a1e-2d0c-4c6e-9b57-0b6c8f6d4a11",
    "id or prefix": "6f1a3a1e",
    "kudos": "1.5",
    "choice": "bash",
}


def good(parameter: click.Parameter) -> str:
    """Something that may be typed there."""
    if isinstance(parameter.type, click.Choice):
        return str(parameter.type.choices[0])
    return GOOD.get(parameter.type.name, "1")


ONE_OF = {
    ("operator", "ban"): ("owner", GOOD["uuid"]),
    ("operator", "pause"): ("owner", GOOD["uuid"]),
    ("operator", "roles"): ("grant", "moderator"),
}
"""Commands that want one of several options, and one that will do."""


def line(path: tuple[str, ...], parameter: click.Parameter, value: str) -> list[str]:
    """The command with this value in this place, and good ones in the places that must not be empty."""
    here = COMMANDS[path].params
    options = [
        f"{option.opts[-1]}={value if option is parameter else good(option)}"
        for option in here
        if isinstance(option, click.Option) and (option is parameter or option.required) and not option.is_flag
    ]
    arguments = [
        value if option is parameter else good(option)
        for option in here
        if isinstance(option, click.Argument) and (option is parameter or option.required)
    ]
    if path in ONE_OF and parameter.name not in ("worker", "owner", "requester", "network", "grant", "revoke"):
        option, one = ONE_OF[path]
        options.append(f"--{option}={one}")
    impatient = ["--patience=0.2"] if any(option.name == "patience" for option in here) else []
    return [*path, *impatient, *options, "--", *arguments]


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    """A server that answers, and knows nothing."""
    loop, ready, address = asyncio.new_event_loop(), threading.Event(), []

    async def serve() -> None:
        server = aio.server()
        address.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        await server.start()
        ready.set()
        await stopped.wait()
        await server.stop(None)

    stopped = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    ready.wait()
    yield address[0]
    loop.call_soon_threadsafe(stopped.set)
    thread.join()
    loop.close()


@pytest.fixture
def run(gateway: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.chdir(tmp_path)
    return Runner(gateway, tmp_path)


class Runner:
    def __init__(self, gateway: str, folder: Path) -> None:
        self._environment = {"HORDE_GATEWAY": gateway, "HORDE_CONFIG_DIR": str(folder / "config"), "HORDE_API_KEY": ""}

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(main, words, env=self._environment, input="")


PLACES = [(path, parameter) for path, command in COMMANDS.items() for parameter in command.params]
TYPED = [
    (path, parameter)
    for path, parameter in PLACES
    if not (isinstance(parameter, click.Option) and parameter.is_flag) and parameter.name != "help"
]
COMMON = {"gateway", "mesh", "api_key", "config_dir", "ca", "patience"}


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        place
        for place in TYPED
        # What all commands have in common is the same code everywhere: once is enough.
        if place[1].name not in COMMON or place[0] == ("account", "show")
    ],
    ids=[
        f"{' '.join(path)} {parameter.name}"
        for path, parameter in TYPED
        if parameter.name not in COMMON or path == ("account", "show")
    ],
)
def test_nothing_odd_ends_in_a_defect(path: tuple[str, ...], parameter: click.Parameter, run: Runner) -> None:
    for what, value in ODD.items():
        if path in STARTS_SOMETHING:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(COMMANDS[path], "callback", lambda **options: None)
                result = run(*line(path, parameter, value))
        else:
            result = run(*line(path, parameter, value))
        assert result.exception is None or isinstance(result.exception, SystemExit), (what, result.exception)
        assert result.exit_code in list(Exit), (what, result.output)
        if result.exit_code == Exit.USAGE and "Usage:" in result.output:
            names = {*parameter.opts, parameter.human_readable_name, "value for"}
            assert any(name in result.output for name in names), (what, result.output)
        assert "mkudos" not in result.output, what


NUMBERS = [
    ("--seed", 0, validation.MAX_INT63),
    ("-n", 1, validation.MAX_COUNT),
    ("--width", validation.MIN_SIDE, validation.MAX_SIDE),
    ("--height", validation.MIN_SIDE, validation.MAX_SIDE),
    ("--steps", 1, validation.MAX_STEPS),
    ("--guidance", 0, validation.MAX_GUIDANCE),
    ("--clip-skip", 0, validation.MAX_CLIP_SKIP),
    ("--strength", 0.001, 1),
    ("--hires-strength", 0.001, 1),
    ("--ttl", 1, validation.MAX_TIME_TO_LIVE_SECONDS),
    ("--keep", validation.MIN_KEEP_SECONDS / 3600, validation.MAX_KEEP_SECONDS / 3600),
    ("--max-price", 0, validation.MAX_MKUDOS / 1000),
]


@pytest.mark.parametrize(("option", "least", "most"), NUMBERS, ids=[row[0] for row in NUMBERS])
def test_a_number_beyond_its_bounds_is_refused_by_its_name_with_them(
    option: str, least: float, most: float, run: Runner
) -> None:
    """The bounds are the gateway's own."""
    for inside in (least, most):
        assert "Usage:" not in run("generate", "a fox", "--dry-run", option, str(inside)).output
    for outside in (least - 1, most + 1, 2**64, "nan", "ten"):
        result = run(
            "generate", "a fox", "--dry-run", f"{option}={outside}" if option[1] == "-" else f"{option}{outside}"
        )
        assert result.exit_code == Exit.USAGE, (outside, result.output)
        assert f"Invalid value for '{option}'" in result.output
        if isinstance(outside, float | int) and option not in (
            "--ttl",
            "--keep",
            "--max-price",
            "--strength",
            "--hires-strength",
        ):
            assert f"{least:g}" in result.output or str(least) in result.output


def test_a_seed_of_2_to_the_64_names_its_option_and_its_range(run: Runner) -> None:
    result = run("generate", "a fox", "--seed", str(2**64))
    assert "'--seed': 18446744073709551616 is not in the range 0<=x<=9223372036854775807" in result.output


def test_every_option_that_is_sent_is_named_by_its_option_when_the_mesh_refuses_it() -> None:
    local = {
        "api_key", "anonymous", "ca", "config_dir", "dry_run", "folder", "gateway", "as_json", "patience", "plaintext",
        "preview", "wait", "wait_for_model", "metadata", "help",
        "mesh", "negative_embedding",  # Told as --embedding: the contract has one list for both.
    }  # fmt: skip
    told = set(OPTIONS.values())
    for parameter in COMMANDS["generate",].params:
        if parameter.name not in local:
            names = {*parameter.opts, str(parameter.name).upper()}
            assert names & told, parameter.name


@pytest.mark.parametrize(
    ("field", "description", "words"),
    [
        ("spec.count", "must be 1 to 20, and is 0", "-n: must be 1 to 20, and is 0"),
        ("spec.job.image.mask", "needs a source_image", "--mask: needs a --image"),
        ("spec.job.image.source_image.sha256", "must be 32 bytes", "--image: must be 32 bytes"),
        ("spec.keep_for", "must be 60 s to 2592000 s", "--keep: must be 1 min to 30 days"),
        ("spec.job.image.hires_fix.denoising_strength", "is wrong", "--hires-strength: is wrong"),
        ("spec.job.image.hires_fix.width", "is wrong", "--width: is wrong"),
        ("spec.job.image.loras[8].name", "is missing", "--lora: is missing"),
        ("spec.denied_worker_ids[3]", "is no UUID", "spec.denied_worker_ids[3]: is no UUID"),
    ],
)
def test_a_refused_field_is_told_in_the_words_of_the_command_line(field: str, description: str, words: str) -> None:
    assert violation_text(FieldViolation(field, description)) == words


def test_the_newest_name_in_a_path_counts() -> None:
    assert option_for("spec.job.image.controls[0].image") == "--control"
    assert option_for("spec.job.image.odd[0].image") == "spec.job.image.odd[0].image"
    assert option_for("job_ids[7]") == "IMAGES"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("90", timedelta(seconds=90)),
        ("90s", timedelta(seconds=90)),
        ("1.5 h", timedelta(minutes=90)),
        ("1d", timedelta(days=1)),
    ],
)
def test_a_while_is_typed_as_people_say_it(typed: str, meant: timedelta) -> None:
    ttl = next(parameter for parameter in COMMANDS["generate",].params if parameter.name == "ttl")
    assert ttl.type.convert(typed, ttl, None) == meant
