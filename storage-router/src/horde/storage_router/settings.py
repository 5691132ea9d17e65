"""What can be set, as `HORDE_STORAGE_ROUTER_…` in the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from horde.services.settings import DoorSettings
from horde.services.tls import Listener

MIB = 1024 * 1024
ONE_DOOR = (
    "where services know each other by certificate they need a door of their own, or workers and requesters, who have "
    "none, could not come in"
)


class StorageRouterSettings(DoorSettings):
    """Settings of the storage router."""

    model_config = SettingsConfigDict(env_prefix="HORDE_STORAGE_ROUTER_")

    listen: str = "127.0.0.1:7701"
    """Where to listen, HOST:PORT; port 0 takes any free one."""
    internal_listen: str = ""
    """Where the other services call, HOST:PORT, when callers prove themselves by certificate: strangers, who have none,
    are then served on `listen` alone. Empty: everybody calls `listen`."""
    state_dir: Path = Path(".state/storage-router")
    """Where buckets are kept when they are folders, and the key that receipts are signed with."""
    signing_key_file: Path | None = None
    """What receipts are signed with, PEM, mode 0600; made at first start. Absent: `receipts.key` in `state_dir`.
    Replicas share one."""
    public_keys_dir: Path = Path(".state/public-keys")
    """Where the mesh publishes the keys that tokens are verified with."""

    s3_endpoint: str = ""
    """HOST:PORT of an S3 server; empty: buckets are folders."""
    s3_secure: bool = True
    """Whether the S3 server is spoken to over TLS."""
    s3_region: str = "us-east-1"
    """The region that requests are signed for."""
    private_bucket: str = "horde-private"
    """The bucket for inputs, quarantine and private images."""
    private_access_key: str = ""
    """The access key that reads and writes the private bucket, and no other."""
    private_secret_file: Path | None = None
    """The file that holds its secret."""
    shared_bucket: str = "horde-shared"
    """The bucket for shared images."""
    shared_access_key: str = ""
    """The access key that reads and writes the shared bucket, and no other."""
    shared_secret_file: Path | None = None
    """The file that holds its secret."""

    releases_dir: Path | None = None
    """The bucket of data releases, when buckets are folders: its files are read under tickets of the curation service.
    On an S3 server they are fetched by links."""

    max_image_bytes: int = Field(default=64 * MIB, ge=1)
    """No image or input may be larger, whatever its token says."""
    max_pixels: int = Field(default=8192 * 8192, ge=1)
    """No image or input may have more pixels, whatever its token says."""
    max_memory_bytes: int = Field(default=512 * MIB, ge=1)
    """Bytes of images in memory, of all uploads together, in shares; commits have half as much again of their own."""
    max_input_memory_bytes: int = Field(default=256 * MIB, ge=1)
    """Bytes of inputs in memory, of all uploads together, in shares."""
    max_partial_bytes: int = Field(default=64 * MIB, ge=0)
    """Bytes kept of uploads that broke off."""
    max_stored_input_bytes: int = Field(default=8 * 1024 * MIB, ge=0)
    """Bytes of all inputs that are stored, together: more is refused until some have gone."""
    commit_concurrency: int = Field(default=64, ge=1)
    """Orders carried out at the same time."""
    minimum_bytes_per_second: int = Field(default=16 * 1024, ge=1)
    """How fast an upload must be after its first ten seconds."""
    decoders: int = Field(default=2, ge=1)
    """Child processes that decode images."""
    input_decoders: int = Field(default=1, ge=1)
    """Child processes that make inputs what a viewer shows; they stand back behind everything else."""
    decode_private: bool = False
    """Whether private images are decoded, too. What goes public, and every input, always is."""
    decoder_memory_bytes: int = Field(default=1024 * MIB, ge=128 * MIB)
    """Address space of each decoder."""
    decoder_timeout_seconds: float = Field(default=20.0, gt=0)
    """How long decoding one picture may take."""
    sweep_seconds: float = Field(default=60.0, gt=0)
    """How often what is too old is looked for."""

    def listeners(self) -> list[Listener]:
        """The public door, and the other one."""
        if not self.internal_listen:
            return [self.door(require_client=True)]
        return [self.door(), Listener(self.internal_listen, self.tls())]

    def faults(self) -> list[str]:
        """Also a door that would let in only who has a certificate: no worker has."""
        shut = self.tls_name_suffix and not self.internal_listen
        return [*super().faults(), *([f"{self.variable('internal_listen')}: {ONE_DOOR}"] if shut else [])]

    @model_validator(mode="after")
    def _check_credentials(self) -> StorageRouterSettings:
        if not self.s3_endpoint:
            return self
        if not (
            self.private_access_key and self.private_secret_file and self.shared_access_key and self.shared_secret_file
        ):
            raise ValueError("with s3_endpoint, access key and secret file are needed for both buckets")
        if self.private_bucket == self.shared_bucket or self.private_access_key == self.shared_access_key:
            raise ValueError("the private and the shared bucket must be two, with two credentials")
        return self


def read_secret(path: Path) -> SecretStr:
    """A secret from its file."""
    return SecretStr(path.read_text().strip())
