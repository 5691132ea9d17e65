"""Which processes a mesh has, in which order they start, and what each must be told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final


class Role(Enum):
    """A service, by the name of its folder."""

    LEDGER = "ledger"
    STORAGE_ROUTER = "storage-router"
    SCHEDULER = "scheduler"
    GATEWAY = "gateway"
    WEB_DOOR = "web-door"
    CURATION = "curation"
    WEBHOOKS = "webhooks"
    WORKER = "worker"

    @property
    def module(self) -> str:
        """What `python -m` starts."""
        return "horde.worker_agent" if self is Role.WORKER else f"horde.{self.value.replace('-', '_')}"

    @property
    def prefix(self) -> str:
        """What its settings begin with."""
        return f"HORDE_{self.value.replace('-', '_').upper()}_"


SERVICES: Final = (Role.LEDGER, Role.STORAGE_ROUTER, Role.SCHEDULER, Role.GATEWAY, Role.CURATION, Role.WEBHOOKS)
"""In the order in which they start; they stop the other way round. Any order works: this one is the quickest."""
WEB_DOORS: Final = (Role.WEB_DOOR,)
"""What speaks HTTP in front of the services; nothing of the mesh depends on it."""
DEFAULT_PORTS: Final = {
    Role.GATEWAY: 7700,
    Role.STORAGE_ROUTER: 7701,
    Role.SCHEDULER: 7702,
    Role.LEDGER: 7703,
    Role.WEB_DOOR: 7710,
    Role.CURATION: 7704,
    Role.WEBHOOKS: 7705,
}
GENEROUS: Final = {
    "FLOOR_AGE_S": "0",
    "ANONYMOUS_ADDRESS_SHARE_PERMILLE": "1000000",
    "ANONYMOUS_TOKEN_SHARE_PERMILLE": "1000000",
}
"""Of the ledger: here all come from one address and accounts are new, and nobody keeps anything from anybody."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of one mesh is: its addresses and its folders."""

    state: Path
    ports: Mapping[Role, int] = field(default_factory=lambda: dict(DEFAULT_PORTS))

    def address(self, role: Role) -> str:
        """Where a service listens."""
        return f"127.0.0.1:{self.ports[role]}"

    @property
    def key_file(self) -> Path:
        """The key of this run, by which the services know each other."""
        return self.state / "mesh.key"

    @property
    def public_keys(self) -> Path:
        """Where whoever signs publishes its public keys."""
        return self.state / "public-keys"

    @property
    def worker_key(self) -> Path:
        """The API key of the account that the workers here belong to."""
        return self.state / "worker-api-key"

    @property
    def operator_key(self) -> Path:
        """The operator's API key, made by the gateway at its first start."""
        return self.folder(Role.GATEWAY) / "operator.key"

    @property
    def private_bucket(self) -> Path:
        """Where the router keeps inputs, quarantine and private images."""
        return self.folder(Role.STORAGE_ROUTER) / "private"

    @property
    def shared_bucket(self) -> Path:
        """Where the router keeps shared images and their consent records."""
        return self.folder(Role.STORAGE_ROUTER) / "shared"

    @property
    def releases_bucket(self) -> Path:
        """Where data releases are."""
        return self.state / "releases"

    def folder(self, role: Role) -> Path:
        """What a service keeps."""
        return self.state / role.value

    def settings(self, role: Role) -> dict[str, str]:
        """What a service must be told, as the environment of its process."""
        given = {"STATE_DIR": str(self.folder(role))}
        if role is Role.WORKER:
            given |= {"GATEWAY": self.address(Role.GATEWAY), "API_KEY_FILE": str(self.worker_key)}
        elif role is Role.WEB_DOOR:
            return {
                f"{role.prefix}LISTEN": self.address(role),
                f"{role.prefix}GATEWAY": self.address(Role.GATEWAY),
            }
        else:
            given |= {"LISTEN": self.address(role), "KEY_FILE": str(self.key_file), "REFLECTION": "true"}
        if role in (Role.GATEWAY, Role.SCHEDULER, Role.STORAGE_ROUTER, Role.CURATION):
            given["PUBLIC_KEYS_DIR"] = str(self.public_keys)
        if role in (Role.GATEWAY, Role.STORAGE_ROUTER):
            # The web door is on this machine.
            given["FORWARDED_FROM"] = "127.0.0.0/8"
        if role in (Role.GATEWAY, Role.SCHEDULER):
            given |= {"LEDGER": self.address(Role.LEDGER), "STORAGE_ROUTER": self.address(Role.STORAGE_ROUTER)}
        if role is Role.LEDGER:
            given |= GENEROUS
        if role is Role.SCHEDULER:
            given["STORAGE_ADDRESS"] = self.address(Role.STORAGE_ROUTER)
        if role is Role.GATEWAY:
            given |= {
                "SCHEDULER": self.address(Role.SCHEDULER),
                "CURATION": self.address(Role.CURATION),
                "WEBHOOKS": self.address(Role.WEBHOOKS),
            }
        if role is Role.WEBHOOKS:
            given |= {
                "LEDGER": self.address(Role.LEDGER),
                "SCHEDULER": self.address(Role.SCHEDULER),
                # Whoever reaches this mesh is on this machine already.
                "OWN_NETWORKS": "127.0.0.0/8,::1/128",
            }
        if role is Role.STORAGE_ROUTER:
            given["RELEASES_DIR"] = str(self.releases_bucket)
        if role is Role.CURATION:
            given |= {
                "LEDGER": self.address(Role.LEDGER),
                "STORAGE_ADDRESS": self.address(Role.STORAGE_ROUTER),
                "STORAGE_ROUTER": self.address(Role.STORAGE_ROUTER),
                "SHARED_DIR": str(self.shared_bucket),
                "RELEASES_DIR": str(self.releases_bucket),
            }
        return {f"{role.prefix}{name}": value for name, value in given.items()}


def local_environment(inherited: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a service's process: ours, but no settings of services except those that it is told."""
    prefixes = tuple(role.prefix for role in Role)
    kept = {name: value for name, value in inherited.items() if not name.startswith(prefixes)}
    return {**kept, "PYTHONUNBUFFERED": "1", **given}
