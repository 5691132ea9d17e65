"""What can be set, as `HORDE_DATA_RELEASES_…` in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import model_validator
from pydantic_settings import SettingsConfigDict

from horde.services.settings import ServiceSettings


class DataReleaseSettings(ServiceSettings):
    """Settings of the builder, and of researchers who read what it made."""

    model_config = SettingsConfigDict(env_prefix="HORDE_DATA_RELEASES_")
    among_services: ClassVar[bool] = False

    state_dir: Path = Path(".state/data-releases")
    """The builder's index of what was released, which can be made again, and its work of the moment."""
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
    """The bucket of shared images, which is only read."""
    releases_bucket: str = "horde-releases"
    """The bucket of releases."""
    access_key: str = ""
    """The access key of the builder, or of a researcher, who needs the bucket of releases only."""
    secret_file: Path | None = None
    """The file that holds its secret."""

    signing_key_file: Path = Path(".state/data-releases/signing.key")
    """The Ed25519 key that releases are signed with, PEM; made where there is none."""
    pseudonym_key_file: Path = Path(".state/data-releases/pseudonyms.key")
    """The secret behind the pseudonyms of requesters and workers; made where there is none."""

    @model_validator(mode="after")
    def _check_credential(self) -> DataReleaseSettings:
        if self.s3_endpoint and not (self.access_key and self.secret_file):
            raise ValueError("with s3_endpoint, an access key and its secret file are needed")
        return self
