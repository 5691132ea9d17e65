"""What can be set, as `HORDE_WEBHOOKS_…` in the environment."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from pydantic_settings import SettingsConfigDict

from horde.services.addresses import parse_networks
from horde.services.settings import ServiceSettings
from horde.webhooks.core.targets import Reach


def _networks(text: str) -> str:
    parse_networks(text)
    return text


class WebhooksSettings(ServiceSettings):
    """Settings of one webhooks process."""

    model_config = SettingsConfigDict(env_prefix="HORDE_WEBHOOKS_")

    listen: str = "127.0.0.1:7705"
    """Where to listen, HOST:PORT; port 0 takes any free one."""
    state_dir: Path = Path(".state/webhooks")
    """Where SQLite's file stands, if `database_url` is empty."""
    database_url: str = ""
    """`postgresql://...` or `sqlite:///FILE`; empty: SQLite in `state_dir`."""
    ledger: str = "127.0.0.1:7703"
    """Where the ledger is, HOST:PORT, whose feed says what happened."""
    scheduler: str = "127.0.0.1:7702"
    """Where the scheduler is, HOST:PORT, which says how images ended."""
    secrets_key_file: Path | None = None
    """The keys by which webhooks' secrets are sealed in the database: 32 bytes in hexadecimal a line, the newest first
    (`horde keys init` makes one). Absent: `secrets-key` in `state_dir`, made at the first start. Processes that share
    a database share this file."""
    own_networks: Annotated[str, AfterValidator(_networks)] = ""
    """Networks, by commas, that are called though they are not public, also at http:// addresses: for a mesh on one
    machine, `127.0.0.0/8`. Whoever may have webhooks can have whatever listens there called."""
    forbidden_networks: Annotated[str, AfterValidator(_networks)] = ""
    """Networks, by commas, that are never called though they are public: those of the mesh itself."""
    receivers_authorities: Path | None = None
    """Whose certificates people's programs may have, PEM; absent: those that this machine trusts."""

    def url(self) -> str:
        """The database; its folder is made if it is ours to make."""
        if self.database_url:
            return self.database_url
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return f"sqlite:///{self.state_dir / 'webhooks.sqlite'}"

    def secrets_key(self) -> Path:
        """Where the keys are that seal secrets."""
        return self.secrets_key_file or self.state_dir / "secrets-key"

    def reach(self) -> Reach:
        """Which addresses are called."""
        return Reach(parse_networks(self.own_networks), parse_networks(self.forbidden_networks))

    def receivers_tls(self) -> ssl.SSLContext:
        """How receivers prove who they are."""
        return ssl.create_default_context(cafile=self.receivers_authorities)
