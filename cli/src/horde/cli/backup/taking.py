"""One moment for all databases: while nobody leads the scheduler, through which all that costs or pays goes.

Whoever holds the scheduler's lock leads, and a backup holds it while it fixes a moment in each database: accepted jobs
and the ledger's holds then agree, but for steps that the scheduler repeats by itself after a start. The copies are made
after that, while the next scheduler leads.
"""

from __future__ import annotations

import importlib
import json
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from horde.cli.backup.databases import CONNECT_SECONDS, BackupFailed, is_postgresql, moment, plain, put_back
from horde.cli.local.roles import Role
from horde.services.settings import ServiceSettings

MANIFEST: Final = "backup.json"
LAST: Final = Role.LEDGER
"""Whose moment is fixed last: what another service has asked it for is then in it."""

Settings = Mapping[Role, ServiceSettings]
Say = Callable[[str], None]


def take(settings: Settings, folder: Path, say: Say) -> None:
    """Copy every database, and buckets that are folders, into an empty folder. Raises BackupFailed."""
    if folder.exists() and any(folder.iterdir()):
        raise BackupFailed(f"{folder} is not empty")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    urls = databases(settings)
    with ExitStack() as stack:
        with _nobody_leads(settings, say):
            copies = {role: stack.enter_context(moment(url)) for role, url in urls.items()}
            taken_at = datetime.now(UTC)
            # A file cannot be copied as of a moment that is over.
            early = [role for role, url in urls.items() if not is_postgresql(url)]
            for role in early:
                copies.pop(role)(folder / role.value)
        say("the moment is fixed; a scheduler may lead again")
        for role, copy in copies.items():
            copy(folder / role.value)
    # Not before the databases: what they name must be there, and what came later is swept away.
    for name, source in folders(settings).items():
        if source.exists():
            shutil.copytree(source, folder / name, symlinks=True)
    manifest = {"taken_at": taken_at.isoformat(), "databases": [role.value for role in urls]}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def restore(settings: Settings, folder: Path, say: Say) -> None:
    """Fill empty databases, and folders of buckets, from a backup. Raises BackupFailed."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        raise BackupFailed(f"{folder} is no backup, or one that did not come to its end") from None
    urls = databases(settings)
    lacking = set(manifest["databases"]) ^ {role.value for role in urls}
    if lacking:
        raise BackupFailed(f"the backup and these settings do not have the same services: {', '.join(sorted(lacking))}")
    for role, url in urls.items():
        put_back(folder / role.value, url)
        say(f"{role.value} is back")
    for name, target in folders(settings).items():
        if (folder / name).exists():
            if target.exists():
                raise BackupFailed(f"{target} is there already: set it aside first")
            shutil.copytree(folder / name, target, symlinks=True)
            say(f"{name} is back")


def databases(settings: Settings) -> dict[Role, str]:
    """The database of each service that has one, the ledger's last."""
    urls = {}
    for role, setting in settings.items():
        if "database_url" in type(setting).model_fields:
            urls[role] = _url(role, setting)
    return dict(sorted(urls.items(), key=lambda item: item[0] is LAST))


def _url(role: Role, settings: Any) -> str:
    if settings.database_url:
        return str(settings.database_url)
    names = {Role.SCHEDULER: "scheduler.sqlite3", Role.GATEWAY: "identity.sqlite"}
    own = getattr(settings, "url", None)
    return str(own()) if own is not None else f"sqlite:///{settings.state_dir / names[role]}"


def folders(settings: Settings) -> dict[str, Path]:
    """What is kept in folders: buckets, private ones first, because a commit moves an object from there."""
    router: Any = settings.get(Role.STORAGE_ROUTER)
    if router is None or router.s3_endpoint:
        return {}
    return {"bucket-private": router.state_dir / "private", "bucket-shared": router.state_dir / "shared"}


@contextmanager
def _nobody_leads(settings: Settings, say: Say) -> Iterator[None]:
    """Hold the place of the scheduler's leader for as long as the block."""
    own: Any = settings[Role.SCHEDULER]
    url = databases(settings)[Role.SCHEDULER]
    if not is_postgresql(url):
        host, _, port = own.listen.rpartition(":")
        with socket.socket() as asking:
            if asking.connect_ex((host, int(port))) == 0:
                raise BackupFailed(f"a scheduler runs at {own.listen}: stop it, and start it again after the backup")
        yield
        return
    import psycopg

    key = importlib.import_module(f"{Role.SCHEDULER.module}.scheduler").LOCK_KEY
    try:
        with psycopg.connect(plain(url), autocommit=True, connect_timeout=CONNECT_SECONDS) as lock:
            # PostgreSQL hands the lock on in the order of asking: who stood by before this leads before it.
            say("waiting until no scheduler leads: restart all its processes, first the one that leads")
            lock.execute("SELECT pg_advisory_lock(%s)", (key,))
            yield
    except psycopg.Error as error:
        raise BackupFailed(str(error).strip()) from error
