"""What settings say by themselves, and beside each other's. Pure, but for reading files of keys and certificates."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Final

from horde.cli.local.roles import Role
from horde.services.certificates import BadCertificate, examine
from horde.services.settings import ServiceSettings
from horde.services.tls import is_loopback

SOON: Final = timedelta(days=14)
"""Before a certificate's end, when somebody should know."""

Settings = Mapping[Role, ServiceSettings]


class Grade(Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that was looked at, and what came of it."""

    grade: Grade
    subject: str
    words: str


def ok(subject: str, words: str) -> Verdict:
    """It is as it should be."""
    return Verdict(Grade.OK, subject, words)


def warn(subject: str, words: str) -> Verdict:
    """It works, and somebody should know."""
    return Verdict(Grade.WARN, subject, words)


def fail(subject: str, words: str) -> Verdict:
    """It will not work, or loses something."""
    return Verdict(Grade.FAIL, subject, words)


def read(settings: Settings, now: datetime) -> Iterator[Verdict]:
    """Everything that can be said without asking anybody."""
    yield from identity(settings)
    yield from public_keys(settings)
    yield from databases(settings)
    yield from certificates(settings, now)
    yield from addresses(settings)


def identity(settings: Settings) -> Iterator[Verdict]:
    """Whether the services believe each other."""
    proofs = defaultdict(list)
    for role, setting in settings.items():
        if setting.among_services:
            proofs[_proof(setting)].append(role.value)
    if len(proofs) > 1:
        parts = "; ".join(f"{', '.join(names)}: {proof}" for proof, names in proofs.items())
        yield fail("identity", f"services prove their names in different ways, and will refuse each other: {parts}")
    elif proofs:
        yield ok("identity", f"all prove their names by {next(iter(proofs))}")


def _proof(settings: ServiceSettings) -> str:
    if settings.tls_name_suffix:
        return f"certificates that end in {settings.tls_name_suffix}"
    if settings.key_file is None:
        return "nothing"
    try:
        return f"the key {hashlib.sha256(settings.key_file.read_bytes()).hexdigest()[:8]}"
    except OSError as error:
        return f"{settings.key_file}, which cannot be read ({error.strerror})"


def public_keys(settings: Settings) -> Iterator[Verdict]:
    """Whether everybody who verifies tokens has the public keys of everybody who signs them."""
    folders = {role: getattr(setting, "public_keys_dir", None) for role, setting in settings.items()}
    contents = {role: _names(folder) for role, folder in folders.items() if folder is not None}
    for role, setting in settings.items():
        key = getattr(setting, "signing_key_file", None)
        if key is None or not key.exists():
            continue
        key_id = _key_id(key)
        lacking = [other.value for other, names in contents.items() if key_id not in names]
        if lacking:
            yield fail(f"{role.value}'s key", f"its public half {key_id} is not in the folder of {', '.join(lacking)}")
        else:
            yield ok(f"{role.value}'s key", f"its public half {key_id} is where {len(contents)} services look")
    distinct = set(contents.values())
    if len(distinct) > 1:
        sizes = ", ".join(f"{role.value} {len(names)}" for role, names in contents.items())
        yield fail("public keys", f"services look at different sets of public keys ({sizes}): tokens will be refused")


def _names(folder: Path) -> frozenset[str]:
    return frozenset(path.stem for path in folder.glob("*.json")) if folder.is_dir() else frozenset()


def _key_id(path: Path) -> str:
    from horde.services.tokens import Signer

    return Signer.from_file(path, "").key_id


def databases(settings: Settings) -> Iterator[Verdict]:
    """Whether each service has a database of its own that outlives its machine."""
    users = defaultdict(list)
    for role, setting in settings.items():
        if not hasattr(setting, "database_url"):
            continue
        if url := getattr(setting, "database_url", ""):
            users[url].append(role.value)
        else:
            folder = getattr(setting, "state_dir", Path())
            yield warn(f"{role.value}'s database", f"SQLite in {folder.absolute()}: it is lost with this machine")
    for names in users.values():
        if len(names) > 1:
            yield fail("databases", f"{' and '.join(names)} are told the same one: each needs its own")


def certificates(settings: Settings, now: datetime) -> Iterator[Verdict]:
    """Until when certificates hold."""
    for role, setting in settings.items():
        shown = (
            (setting.tls_certificate, setting.tls_key, setting.tls_authorities),
            (getattr(setting, "door_certificate", None), getattr(setting, "door_key", None), None),
        )
        for certificate, key, authorities in shown:
            if certificate is None or key is None:
                continue
            try:
                facts = examine(certificate, key, authorities)
            except BadCertificate as error:
                yield fail(f"{role.value}'s certificate", str(error))
                continue
            left = facts.not_after - now
            words = f"{certificate} holds until {facts.not_after:%Y-%m-%d %H:%M} UTC"
            yield (warn if left < SOON else ok)(f"{role.value}'s certificate", words)


def addresses(settings: Settings) -> Iterator[Verdict]:
    """What strangers are told, and where services listen."""
    listening = defaultdict(list)
    for role, setting in settings.items():
        for address in (setting.listen, getattr(setting, "internal_listen", "")):
            if address and not address.endswith(":0") and setting.among_services:
                listening[address].append(role.value)
    for address, names in listening.items():
        if len(names) > 1 and is_loopback(address):
            yield fail("addresses", f"{' and '.join(names)} listen on the same address {address}")
    for role, field in ((Role.SCHEDULER, "storage_address"), (Role.GATEWAY, "storage_public_address")):
        gateway = settings.get(Role.GATEWAY)
        asking = settings.get(role)
        if asking is None or gateway is None or is_loopback(gateway.listen):
            continue
        public = getattr(asking, field) or getattr(asking, "storage_router", "")
        if is_loopback(public):
            words = f"strangers are sent to {public} for pictures, which is their own machine"
            yield fail(asking.variable(field), words)
