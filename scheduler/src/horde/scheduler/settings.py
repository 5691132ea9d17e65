"""The scheduler's settings, read from HORDE_SCHEDULER_… once, at start."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from horde.scheduler.core.board import Limits
from horde.scheduler.doors.grants import SCHEDULER, Grants
from horde.services.clock import Clock
from horde.services.settings import ServiceSettings
from horde.services.tokens import KeyRing, Signer, Verifier

NOT_OURS = (
    "where services know each other by certificate, the storage router's address for us is not that for workers, who "
    "have none: name its public door"
)


class Settings(ServiceSettings):
    """Fields of the scheduler."""

    model_config = SettingsConfigDict(env_prefix="HORDE_SCHEDULER_")

    listen: str = "127.0.0.1:7702"
    """Where gateways find us."""
    state_dir: Path = Path(".state/scheduler")
    """Our signing key, and the database unless `database_url` names another."""
    database_url: str = ""
    """`postgresql://…`; empty: SQLite in `state_dir`."""
    signing_key_file: Path | None = None
    """What grants are signed with, PEM, mode 0600; made at first start. Absent: `signing-key.pem` in `state_dir`."""
    public_keys_dir: Path = Path(".state/public-keys")
    """Where the mesh publishes its public keys."""
    ledger: str = "127.0.0.1:7703"
    """A gRPC target."""
    storage_router: str = "127.0.0.1:7701"
    """A gRPC target, for us."""
    storage_address: str = ""
    """The same, as workers reach it; empty: as we do."""
    checks_part: float = Field(default=0.03, ge=0, le=1)
    """The part of all work that may go into painting others' pictures a second time, to look at them; 0: none."""
    first_slots: int = Field(default=1, ge=1, le=64)
    """Jobs that the workers of a new owner may hold together; one more with each image that somebody else paid for."""
    proven_images: int = Field(default=10, ge=0)
    """Such images that prove an owner: he is bounded by his own wishes alone, and his word counts. 0: everybody is."""
    resume_grace_seconds: float = Field(default=20.0, gt=0, le=300)
    """How long leases wait for a broken stream to come back. Workers are told, and wait no longer than three quarters
    of it between two attempts; 15 s at most, so that more than 20 s gains nothing."""
    lease_ttl_seconds: float = Field(default=60.0, gt=0, le=900)
    """How long a worker may make no progress; three expected steps are added."""
    load_allowance_seconds: float = Field(default=180.0, ge=0, le=3600)
    """Added while the worker must load the model first."""
    upload_grace_seconds: float = Field(default=600.0, gt=0, le=3600)
    """How long a finished picture that cannot be brought keeps its lease: longer than storage may be away for."""
    max_jobs: int = Field(default=200_000, ge=1)
    """Jobs that have not ended; more are refused."""
    max_unpaintable_jobs: int = Field(default=10_000, ge=1)
    """Of them, those that no worker that was here when they came could paint."""
    max_unpaintable_mkudos: int = Field(default=1_000_000, ge=0)
    """What such jobs of anonymous may hold of the day's budget together, in milli-kudos."""
    max_generations_per_requester: int = Field(default=10_000, ge=1)
    """Generations of one requester that have not ended; more are refused."""
    max_sessions: int = Field(default=20_000, ge=1)
    """Workers attached at once."""
    commit_pause_seconds: float = Field(default=0.008, ge=0, le=1)
    """The least time between two commits while little happens, four times as long while much does: less is quicker for
    one, more is cheaper for many."""
    history_days: int = Field(default=30, ge=7)
    """How long ended generations are remembered, with their refusals and dispositions."""

    def faults(self) -> list[str]:
        """Also what would send workers where they cannot go: they would paint, and never deliver."""
        lost = self.tls_name_suffix and not self.storage_address
        return [*super().faults(), *([f"{self.variable('storage_address')}: {NOT_OURS}"] if lost else [])]

    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.state_dir / 'scheduler.sqlite3'}"

    def limits(self) -> Limits:
        """The core's bounds and times."""
        return Limits(
            max_jobs=self.max_jobs,
            max_unpaintable=self.max_unpaintable_jobs,
            max_unpaintable_mkudos=self.max_unpaintable_mkudos,
            max_generations=self.max_generations_per_requester,
            max_sessions=self.max_sessions,
            checks_part=self.checks_part,
            first_slots=self.first_slots,
            proven_images=self.proven_images,
            resume_grace=self.resume_grace_seconds,
            lease_ttl=self.lease_ttl_seconds,
            load_allowance=self.load_allowance_seconds,
            upload_grace=self.upload_grace_seconds,
        )

    def grants(self, clock: Clock) -> Grants:
        """Our key, made at first use and published; and everybody's public ones."""
        address = self.storage_address or self.storage_router
        key = self.signing_key_file or self.state_dir / "signing-key.pem"
        signer = Signer.from_file(key, SCHEDULER, publish=self.public_keys_dir)
        return Grants(signer, Verifier(KeyRing(self.public_keys_dir, clock.monotonic)), address)
