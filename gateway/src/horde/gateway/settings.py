"""The gateway's settings."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from horde.gateway.core.rates import Rates
from horde.services.rates import Rate
from horde.services.settings import DoorSettings
from horde.services.shared.redis import RedisAddress

UNLIMITED = "none"
NOT_OURS = (
    "where services know each other by certificate, the storage router's address for us is not that for strangers, who "
    "have none: name its public door"
)


def _rate(text: str) -> str:
    if text != UNLIMITED:
        Rate.parse(text)
    return text


RateText = Annotated[str, AfterValidator(_rate)]
"""So many in so many seconds, as `10/60s`; `none`: as many as they like."""


class GatewaySettings(DoorSettings):
    """Read from variables that begin with HORDE_GATEWAY_."""

    model_config = SettingsConfigDict(env_prefix="HORDE_GATEWAY_")

    listen: str = "127.0.0.1:7700"
    """Where to listen."""
    doors: Literal["requesters", "workers", "both"] = "both"
    """Which services are served here. Separate deployments for each door can be released without cutting the other."""
    client_certificates: bool = False
    """Whether callers need a certificate where there is TLS. They are end users: seldom."""
    state_dir: Path = Path(".state/gateway")
    """Where the embedded database and this service's secrets lie."""
    database_url: str = ""
    """`postgresql://…` or `sqlite:///FILE`; empty: a SQLite file in `state_dir`."""
    pepper_file: Path | None = None
    """What keys' digests are made with, mode 0600, one a line, the one in use first. Absent: made in `state_dir`."""
    pass_key_file: Path | None = None
    """What passes of generations are made with, mode 0600, one key a line, the one in use first. Absent: made in
    `state_dir`. Replicas share one."""
    operator_key_file: Path | None = None
    """The operator's API key, mode 0600; made at first start. Absent: `operator.key` in `state_dir`."""
    signing_key_file: Path | None = None
    """What tickets are signed with, PEM, mode 0600; made at first start. Absent: `tickets.pem` in `state_dir`."""
    public_keys_dir: Path = Path(".state/public-keys")
    """Where the public half of the signing key is published, for the storage router: its default too."""
    redis_url: str = ""
    """Where replicas of the gateway share limits, revoked keys and previews: `redis://HOST:PORT/0`, `rediss://` over
    TLS; with `redis_sentinel_master`, HOST:PORT of the sentinels, by commas. Empty: there is one gateway."""
    redis_password_file: Path | None = None
    """Redis' password, in a file of mode 0600."""
    redis_cluster: bool = False
    """Whether `redis_url` is a node of a cluster."""
    redis_sentinel_master: str = ""
    """The name of the master that the sentinels watch."""
    redis_authorities: Path | None = None
    """Whose certificate Redis must have, PEM. Absent: the system's authorities."""
    scheduler: str = "127.0.0.1:7702"
    """The scheduler's address."""
    ledger: str = "127.0.0.1:7703"
    """The ledger's address."""
    storage_router: str = "127.0.0.1:7701"
    """The storage router's address."""
    curation: str = "127.0.0.1:7704"
    """The curation service's address."""
    webhooks: str = "127.0.0.1:7705"
    """The webhooks service's address."""
    storage_public_address: str = ""
    """Where requesters reach the storage router. Empty: the same address."""
    mesh_name: str = Field(default="", max_length=64)
    """What this mesh is called, for people."""
    support_url: str = ""
    """Where people find help and the operator."""
    registration_open: bool = True
    """Whether anybody may open an account."""
    catalogue_file: Path | None = None
    """The models that this mesh knows whether or not a worker offers them: a `ListModelsResponse` of
    `horde.api.model.v1` as JSON, of which `name`, `kind` and `catalogue` are read. Absent: only what workers offer."""
    consent_text_version: str = "2026-11"
    """The version of the text that requesters agree to by using this door."""
    image_ticket_seconds: int = Field(default=900, ge=60, le=86_400)
    """How long a ticket to fetch an image holds."""
    input_ticket_seconds: int = Field(default=600, ge=60, le=3_600)
    """How long a ticket to put an input holds."""
    max_input_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    """How large an input may be."""
    max_input_pixels: int = Field(default=4_096 * 4_096, ge=64 * 64)
    """How many pixels an input may have."""
    max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=64 * 1024)
    """How large a message to or from outside may be."""
    max_watchers: int = Field(default=5_000, ge=1, le=10_000)
    """How many may watch at once."""
    max_sessions: int = Field(default=10_000, ge=1, le=50_000)
    """How many workers may be attached at once; an idle one costs 34 KB."""
    brake: bool = True
    """Whether whoever is refused again and again waits for the next refusal, and whoever floods loses the connection.
    Whom a proxy names that `forwarded_from` does is held back and not cut, and not listened to for two seconds where he
    has hundreds of refusals waiting. Where a proxy names nobody: false, and let that limit them."""
    limit_account_calls: RateText = "6000/60s"
    """Calls of one account."""
    limit_account_images: RateText = "1200/60s"
    """Images that one account asks for."""
    limit_account_inputs: RateText = "30/60s"
    """Inputs that one account may put."""
    limit_anonymous_calls: RateText = "600/60s"
    """Calls under one anonymous token."""
    limit_anonymous_images: RateText = "20/60s"
    """Images that are asked for under one anonymous token."""
    limit_anonymous_inputs: RateText = "30/60s"
    """Inputs that may be put under one anonymous token."""
    limit_address_calls: RateText = "3000/60s"
    """Calls of anonymous from one network (a /24 or a /56)."""
    limit_address_images: RateText = "60/60s"
    """Images that anonymous ask for from one network (a /24 or a /56)."""
    limit_address_inputs: RateText = "30/60s"
    """Inputs that anonymous may put from one network."""
    limit_account_reports: RateText = "60/3600s"
    """Images that one account reports."""
    limit_anonymous_reports: RateText = "10/3600s"
    """Images that are reported under one anonymous token."""
    limit_address_reports: RateText = "30/3600s"
    """Images that anonymous report from one network."""
    limit_address_accounts: RateText = "60/3600s"
    """Accounts that are opened from one network."""
    limit_account_misses: RateText = "300/60s"
    """Times that one account looks for what is not there; above it, nothing is looked for."""
    limit_anonymous_misses: RateText = "60/60s"
    """The same under one anonymous token under which something was found."""
    limit_address_misses: RateText = "120/60s"
    """The same under all other tokens from one network."""
    limit_address_failures: RateText = "120/60s"
    """Calls with wrong credentials from one network; above it, keys that were not seen here before are not looked up.

    Behind a proxy that `forwarded_from` does not name all callers come from one address: `none` there.
    """

    def faults(self) -> list[str]:
        """Also what would send requesters where they cannot go."""
        lost = self.tls_name_suffix and not self.storage_public_address
        return [*super().faults(), *([f"{self.variable('storage_public_address')}: {NOT_OURS}"] if lost else [])]

    def redis(self) -> RedisAddress | None:
        """Where Redis is, if there is one."""
        if not self.redis_url:
            return None
        return RedisAddress(
            self.redis_url,
            self.redis_password_file,
            self.redis_cluster,
            self.redis_sentinel_master,
            self.redis_authorities,
        )

    def rates(self) -> Rates:
        """The limits, as values."""
        names = [field.name for field in fields(Rates)]
        texts = {name: getattr(self, f"limit_{name}") for name in names}
        return Rates(**{name: Rate.parse(text) for name, text in texts.items() if text != UNLIMITED})
