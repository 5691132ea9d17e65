"""What can be set, as `HORDE_CURATION_…` in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from horde.services.settings import ServiceSettings


class CurationSettings(ServiceSettings):
    """Settings of one curation process."""

    model_config = SettingsConfigDict(env_prefix="HORDE_CURATION_")

    listen: str = "127.0.0.1:7704"
    """Where to listen, HOST:PORT; port 0 takes any free one."""
    state_dir: Path = Path(".state/curation")
    """Where SQLite's file stands, if `database_url` is empty, and the key that tickets are signed with."""
    database_url: str = ""
    """`postgresql://...` or `sqlite:///FILE`; empty: SQLite in `state_dir`."""
    signing_key_file: Path | None = None
    """What tickets are signed with, PEM, mode 0600; made at first start. Absent: `tickets.pem` in `state_dir`."""
    public_keys_dir: Path = Path(".state/public-keys")
    """Where the public half of the signing key is published, for the storage router: its default too."""
    storage_router: str = "127.0.0.1:7701"
    """The storage router's address for this service, which has it take back what somebody shared."""
    storage_address: str = "127.0.0.1:7701"
    """Where people reach the storage router."""

    shared_dir: Path = Path(".state/storage-router/shared")
    """The shared bucket, when buckets are folders."""
    releases_dir: Path = Path(".state/releases")
    """The bucket of releases, when buckets are folders."""
    s3_endpoint: str = ""
    """HOST:PORT of an S3 server; empty: buckets are folders."""
    s3_secure: bool = True
    """Whether the S3 server is spoken to over TLS."""
    s3_region: str = "us-east-1"
    """The region that requests are signed for."""
    shared_bucket: str = "horde-shared"
    """The bucket of shared images, of which only verdicts are written."""
    releases_bucket: str = "horde-releases"
    """The bucket of releases, which is only read."""
    access_key: str = ""
    """The access key of this service, see `deploy/policies/curation.json`."""
    secret_file: Path | None = None
    """The file that holds its secret."""

    builder: Literal["child", "operator"] = "child"
    """Who builds data releases that are asked for: a child process of this one, whose own credential is set beside
    these as `HORDE_DATA_RELEASES_ACCESS_KEY` and `…_SECRET_FILE`; or an operator, with `horde release create`."""
    ledger: str = ""
    """Where the ledger is, HOST:PORT, which pays for ratings; empty: nobody pays."""

    follow_seconds: float = Field(default=10.0, gt=0)
    """How often it is looked for what was shared and withdrawn."""

    def url(self) -> str:
        """The database; its folder is made if it is ours to make."""
        if self.database_url:
            return self.database_url
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return f"sqlite:///{self.state_dir / 'curation.sqlite'}"

    @model_validator(mode="after")
    def _check_credential(self) -> CurationSettings:
        if self.s3_endpoint and not (self.access_key and self.secret_file):
            raise ValueError("with s3_endpoint, an access key and its secret file are needed")
        return self
