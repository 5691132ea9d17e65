"""`horde keys`: the secrets of a mesh, made once for all its services, and changed without an interruption.

What the services make for themselves at their first start is enough for one process of each. Replicas share these files
instead: as Kubernetes Secrets, or as a folder.
"""

from __future__ import annotations

import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from horde.cli.commands.output import Output
from horde.clients.credentials import new_api_key
from horde.services.identity import create_key_file

if TYPE_CHECKING:
    from horde.services.tokens import Signer

SIGNERS: Final = {"gateway": "tickets", "scheduler": "grants", "storage-router": "receipts", "curation": "tickets"}
"""Who signs tokens, and what its tokens are called."""
RUN_KEY: Final = "run.key"
PEPPER: Final = "gateway-pepper"
PASSES: Final = "gateway-pass-key"
OPERATOR: Final = "gateway-operator-key"
WEBHOOK_SECRETS: Final = "webhooks-secrets-key"
PUBLIC: Final = "public"
PEPPER_BYTES: Final = 32
OVERLAP_HOURS: Final = 192
"""Longer than any token holds: receipts that workers show again are good for seven days."""


@click.group()
def keys() -> None:
    """The secrets by which the services of a mesh know each other's word."""


@keys.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
def init(folder: Path, as_json: bool) -> None:
    """Make all keys that a mesh needs in FOLDER, and say which setting names which.

    What is there already stays as it is.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"{folder} cannot be made: {error.strerror}") from None
    if not (folder / RUN_KEY).exists():
        create_key_file(folder / RUN_KEY)
    if not (folder / PEPPER).exists():
        _write_secret(folder / PEPPER, secrets.token_hex(PEPPER_BYTES))
    if not (folder / PASSES).exists():
        _write_secret(folder / PASSES, secrets.token_hex(PEPPER_BYTES))
    if not (folder / WEBHOOK_SECRETS).exists():
        _write_secret(folder / WEBHOOK_SECRETS, secrets.token_hex(PEPPER_BYTES))
    if not (folder / OPERATOR).exists():
        _write_secret(folder / OPERATOR, new_api_key())
    for service in SIGNERS:
        _signer(folder, service)
    settings = _settings(folder.absolute())
    Output(as_json=as_json).document(settings)
    if as_json:
        return
    for name, value in settings.items():
        click.echo(f"{name}={value}")


@keys.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("service", type=click.Choice(list(SIGNERS)))
@click.option("--overlap-hours", type=click.IntRange(1, 24 * 90), default=OVERLAP_HOURS, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
def rotate(folder: Path, service: str, overlap_hours: int, as_json: bool) -> None:
    """Give SERVICE a new signing key; what it signed with the old one is believed for a while longer.

    Bring the public keys to every service, then restart SERVICE: no token is refused in between.
    """
    from horde.services.tokens import publish_key

    if not _key_file(folder, service).exists():
        raise click.ClickException(f"there is no key of {service} in {folder}: see `horde keys init`")
    old = _signer(folder, service)
    ends = datetime.now(UTC) + timedelta(hours=overlap_hours)
    publish_key(folder / PUBLIC, old.key_id, old.public_key(), not_after=ends)
    _key_file(folder, service).unlink()
    new = _signer(folder, service)
    summary: dict[str, Any] = {"service": service, "old": old.key_id, "new": new.key_id, "old_until": ends.isoformat()}
    Output(as_json=as_json).document(summary)
    if not as_json:
        click.echo(f"{service} signs with {new.key_id} from its next start")
        click.echo(f"what was signed with {old.key_id} is believed until {ends:%Y-%m-%d %H:%M} UTC")


def _settings(folder: Path) -> dict[str, str]:
    """Which variable names which file."""
    settings = {}
    for service in ("GATEWAY", "SCHEDULER", "LEDGER", "STORAGE_ROUTER", "CURATION", "WEBHOOKS"):
        settings[f"HORDE_{service}_KEY_FILE"] = str(folder / RUN_KEY)
    for service in SIGNERS:
        prefix = f"HORDE_{service.upper().replace('-', '_')}_"
        settings[prefix + "SIGNING_KEY_FILE"] = str(_key_file(folder, service))
        settings[prefix + "PUBLIC_KEYS_DIR"] = str(folder / PUBLIC)
    settings["HORDE_GATEWAY_PEPPER_FILE"] = str(folder / PEPPER)
    settings["HORDE_GATEWAY_PASS_KEY_FILE"] = str(folder / PASSES)
    settings["HORDE_GATEWAY_OPERATOR_KEY_FILE"] = str(folder / OPERATOR)
    settings["HORDE_WEBHOOKS_SECRETS_KEY_FILE"] = str(folder / WEBHOOK_SECRETS)
    return settings


def _key_file(folder: Path, service: str) -> Path:
    return folder / f"{service}-{SIGNERS[service]}.pem"


def _signer(folder: Path, service: str) -> Signer:
    """Load the service's key, making it if there is none, and publish its other half."""
    try:
        from horde.services.tokens import Signer
    except ImportError:
        sys.exit("horde keys needs the extra `tokens`: pip install 'horde-mesh[tokens]'")
    return Signer.from_file(_key_file(folder, service), service, folder / PUBLIC)


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text + "\n", "utf-8")
