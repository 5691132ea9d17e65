"""What all commands that speak to a mesh have in common: where it is, who asks, and how it ends."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import click

from horde.cli.commands.exits import Exit, exit_of
from horde.cli.commands.output import Output

DEFAULT_GATEWAY: Final = "127.0.0.1:7700"
Asking = Callable[..., Awaitable[Exit | int | None]]

_OPTIONS: Final = (
    click.option(
        "--gateway",
        envvar="HORDE_GATEWAY",
        default=DEFAULT_GATEWAY,
        show_default=True,
        metavar="HOST:PORT",
        help="The mesh to speak to.",
    ),
    click.option("--api-key", envvar="HORDE_API_KEY", metavar="KEY", help="Your API key. Default: the one kept."),
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
    click.option("--patience", type=float, default=30.0, show_default=True, help="Seconds to go on trying."),
)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --json."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")(function)


def asks(function: Asking) -> Callable[..., None]:
    """Make a command of a coroutine function `(horde, out, **its own options)`, where `horde` is an open client."""

    @functools.wraps(function)
    def command(
        *,
        gateway: str,
        api_key: str | None,
        anonymous: bool,
        config_dir: Path | None,
        ca: Path | None,
        plaintext: bool,
        patience: float,
        as_json: bool,
        **options: Any,
    ) -> None:
        from datetime import timedelta

        from horde.clients.client import HordeClient
        from horde.clients.doors import Security
        from horde.clients.retrying import Patience
        from horde.services.tls import TlsFiles

        async def run(out: Output) -> Exit | int | None:
            client = HordeClient(
                gateway,
                api_key=api_key,
                anonymous=anonymous,
                config_folder=config_dir,
                security=Security(tls=TlsFiles(authorities=ca) if ca else None, plaintext=plaintext),
                patience=Patience(total=timedelta(seconds=patience)),
            )
            async with client as horde:
                return await function(horde, out, **options)

        ends(run, Output(as_json=as_json))

    with_json = json_option(command)
    for option in reversed(_OPTIONS):
        with_json = option(with_json)
    return with_json


def ends(run: Callable[[Output], Awaitable[Exit | int | None]], out: Output) -> None:
    """Run a command to its exit status. Every error that is not a defect becomes a sentence and a status."""
    from horde.clients.credentials import BadCredentialFile
    from horde.clients.errors import DamagedImage
    from horde.services.errors import ServiceError, Unavailable

    status: Exit | int | None
    try:
        status = asyncio.run(_main(run, out))
    except ServiceError as error:
        out.error(error)
        if isinstance(error, Unavailable) and not error.reason:
            out.note("Is there a mesh? `horde up` starts one here; --gateway or HORDE_GATEWAY names another.")
        status = exit_of(error)
    except BadCredentialFile as error:
        out.error(error)
        status = Exit.AUTH
    except (OSError, ValueError, DamagedImage) as error:
        out.error(error)
        status = Exit.FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        out.note("cancelled")
        status = Exit.CANCELLED
    click.get_current_context().exit(int(status or Exit.OK))


async def _main(run: Callable[[Output], Awaitable[Exit | int | None]], out: Output) -> Exit | int | None:
    return await run(out)
