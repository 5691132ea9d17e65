"""What all commands that speak to a mesh have in common: where it is, who asks, and how it ends."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from horde.cli.commands.exits import Exit, exit_of
from horde.cli.commands.output import Output
from horde.cli.commands.profiles import DEFAULT_GATEWAY, folder_of, meant, mesh_option
from horde.cli.commands.values import WORD, Real

if TYPE_CHECKING:
    from horde.clients.client import HordeClient

SILENT_SECONDS: Final = 0.3
"""How long a mesh may take to answer before somebody is told that it is being tried."""
REACH_WITHIN: Final = timedelta(seconds=3)
Asking = Callable[..., Awaitable[Exit | int | None]]


class WrongPlace(Exception):
    """Nothing can be written where the pictures should go."""


_OPTIONS: Final = (
    click.option(
        "--gateway",
        type=WORD,
        envvar="HORDE_GATEWAY",
        metavar="HOST:PORT",
        help=f"The mesh to speak to. Default: that of `horde mesh use`, else {DEFAULT_GATEWAY}.",
    ),
    mesh_option,
    click.option(
        "--api-key",
        type=WORD,
        envvar="HORDE_API_KEY",
        metavar="KEY",
        help="Your API key. Default: the one kept for this mesh.",
    ),
    click.option("--anonymous", is_flag=True, help="Ask as nobody, even if you have an API key."),
    click.option(
        "--config-dir",
        envvar="HORDE_CONFIG_DIR",
        type=click.Path(path_type=Path, file_okay=False),
        help="Where your key and token are kept.",
    ),
    click.option(
        "--ca",
        envvar="HORDE_CA",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="PEM file of the authorities to believe. Default: the system's.",
    ),
    click.option("--plaintext", is_flag=True, help="Speak without TLS to another machine. Anybody can listen."),
    click.option(
        "--patience",
        type=Real(0, 86_400),
        metavar="SECONDS",
        help="How long to go on trying. Default: 3 seconds to reach a mesh, 30 for an answer.",
    ),
)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --json."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")(function)


def metadata_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --metadata, for commands that save pictures."""
    help_text = "Write prompt and parameters into the saved files: whoever gets one can read them."
    return click.option("--metadata", is_flag=True, help=help_text)(function)


def asks(function: Asking, *, reaches: bool = True) -> Callable[..., None]:
    """Make a command of a coroutine function `(horde, out, **its own options)`, where `horde` is an open client.

    Where it `reaches`, there is a mesh when it is called.
    """

    @functools.wraps(function)
    def command(
        *,
        gateway: str | None,
        mesh: str | None,
        api_key: str | None,
        anonymous: bool,
        config_dir: Path | None,
        ca: Path | None,
        plaintext: bool,
        patience: float | None,
        as_json: bool,
        **options: Any,
    ) -> None:
        from horde.clients.client import HordeClient
        from horde.clients.credentials import KEY_CHARACTERS, ApiKey
        from horde.clients.doors import Security
        from horde.clients.retrying import Patience
        from horde.services.errors import Unauthenticated
        from horde.services.tls import TlsFiles

        profile = meant(folder_of({"config_dir": config_dir}), mesh, gateway)
        authorities = ca or (Path(profile.ca) if profile.ca else None)

        async def run(out: Output) -> Exit | int | None:
            client = HordeClient(
                profile.gateway,
                api_key=api_key,
                anonymous=anonymous,
                config_folder=config_dir,
                security=Security(
                    tls=TlsFiles(authorities=authorities) if authorities else None,
                    plaintext=plaintext or profile.plaintext,
                ),
                patience=Patience() if patience is None else Patience(total=timedelta(seconds=patience)),
            )
            async with client as horde:
                if reaches:
                    await _reach(horde, out, REACH_WITHIN if patience is None else timedelta(seconds=patience))
                    _say_if_keys_are_for_others(horde, out, meant=anonymous)
                try:
                    return await function(horde, out, **options)
                except Unauthenticated:
                    if isinstance(horde.credential, ApiKey) and horde.credential.source:
                        named = f"The key is from {horde.credential.source}; `horde login` keeps another."
                        is_key = re.fullmatch(rf"[0-9A-Za-z]{{{KEY_CHARACTERS}}}", horde.credential.secret)
                        what = "" if is_key else f"That is no API key: one has {KEY_CHARACTERS} letters and digits. "
                        out.resume = (what + named,)
                    raise

        ends(run, Output(as_json=as_json))

    with_json = json_option(command)
    for option in reversed(_OPTIONS):
        with_json = option(with_json)
    return with_json


async def _reach(horde: HordeClient, out: Output, within: timedelta) -> None:
    """Wait for a mesh; says at once whom it tries, and not for long that nobody is there. Raises Unavailable."""
    from horde.clients.errors import Unavailable

    reaching = asyncio.ensure_future(horde.reach(within))
    try:
        done, _ = await asyncio.wait([reaching], timeout=SILENT_SECONDS)
        if not done:
            out.note(f"trying to reach the mesh at {horde.target} …")
        await reaching
    except Unavailable:
        out.resume = ("Is there a mesh? `horde up` starts one here; --gateway or HORDE_GATEWAY names another.",)
        raise
    finally:
        reaching.cancel()


def _say_if_keys_are_for_others(horde: HordeClient, out: Output, *, meant: bool) -> None:
    """Say that somebody asks as anonymous whose keys are all for other meshes: it may not be what he means."""
    from horde.clients.credentials import API_KEY_FILE, AnonymousToken

    folder = horde.mesh_folder.parent
    if not meant and isinstance(horde.credential, AnonymousToken) and any(folder.glob(f"*/{API_KEY_FILE}")):
        out.note(f"No key is kept for {horde.target}, only for other meshes: asking as anonymous.")


def ends(run: Callable[[Output], Awaitable[Exit | int | None]], out: Output) -> None:
    """Run a command to its exit status. Every error that is not a defect becomes a sentence and a status."""
    from horde.clients.credentials import BadCredentialFile
    from horde.clients.errors import DamagedImage
    from horde.services.errors import ServiceError

    status: Exit | int | None
    try:
        status = asyncio.run(_main(run, out))
    except ServiceError as error:
        out.error(error)
        status = exit_of(error)
    except BadCredentialFile as error:
        out.error(error)
        status = Exit.AUTH
    except WrongPlace as error:
        out.error(error)
        status = Exit.USAGE
    except (OSError, ValueError, DamagedImage) as error:
        out.error(error)
        status = Exit.FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        out.note("cancelled")
        out.document({"error": {"message": "cancelled"}, **out.known})
        status = Exit.CANCELLED
    if status:
        for line in out.resume:
            out.note(line)
    click.get_current_context().exit(int(status or Exit.OK))


async def _main(run: Callable[[Output], Awaitable[Exit | int | None]], out: Output) -> Exit | int | None:
    return await run(out)
