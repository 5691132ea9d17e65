"""What can be set, as `HORDE_AUDITOR_…` in the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from horde.services.settings import ServiceSettings


class AuditorSettings(ServiceSettings):
    """Settings of the auditor. It listens nowhere."""

    model_config = SettingsConfigDict(env_prefix="HORDE_AUDITOR_")

    scheduler: str = "127.0.0.1:7702"
    """A gRPC target: who says what was settled."""
    state_dir: Path = Path(".state/auditor")
    """Where it is noted how far it has come, and what is wrong."""
    shared_dir: Path = Path(".state/storage-router/shared")
    """The shared bucket, when buckets are folders."""
    private_dir: Path = Path(".state/storage-router/private")
    """The private bucket, when buckets are folders."""

    s3_endpoint: str = ""
    """HOST:PORT of an S3 server; empty: buckets are folders."""
    s3_secure: bool = True
    """Whether the S3 server is spoken to over TLS."""
    s3_region: str = "us-east-1"
    """The region that requests are signed for."""
    shared_bucket: str = "horde-shared"
    """The shared bucket, which is only read."""
    private_bucket: str = "horde-private"
    """The private bucket, which is only listed."""
    access_key: str = ""
    """The access key of the auditor: `deploy/policies/auditor.json`."""
    secret_file: Path | None = None
    """The file that holds its secret."""

    every_seconds: float = Field(default=60.0, gt=0)
    """How often it looks, when it goes on and on."""
    settle_seconds: float = Field(default=300.0, ge=0)
    """What is younger is left for the next look: a job's end and its objects are not written at the same moment."""
    new_images: int = Field(default=5_000, ge=1)
    """Newly settled images that one look reads whole; more wait for the next."""
    slice_objects: int = Field(default=20_000, ge=1_000, le=100_000)
    """Objects of each bucket that one look goes through, on its way round; a few hundred bytes of memory each."""
    sample_per_mille: int = Field(default=10, ge=0, le=1000)
    """Of a thousand old images that are passed on the way round, how many are read whole."""

    @model_validator(mode="after")
    def _check_credential(self) -> AuditorSettings:
        if self.s3_endpoint and not (self.access_key and self.secret_file):
            raise ValueError("with s3_endpoint, an access key and its secret file are needed")
        return self
