"""The web door's settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from horde.services.settings import ServiceSettings
from horde.services.tls import TlsFiles, is_loopback


class WebDoorSettings(ServiceSettings):
    """Read from variables that begin with HORDE_WEB_DOOR_."""

    # It brings its callers' credentials and has none itself.
    among_services: ClassVar[bool] = False
    model_config = SettingsConfigDict(env_prefix="HORDE_WEB_DOOR_")

    listen: str = "127.0.0.1:7710"
    """Where to listen."""
    plaintext: bool = False
    """Listen without TLS also where other machines can call: something in front of this does the TLS."""
    gateway: str = "127.0.0.1:7700"
    """The gateway's address, for requesters and workers."""
    gateway_plaintext: bool = False
    """Whether the gateway and the storage router are called without TLS though they are on other machines."""
    public_url: str = ""
    """What clients put before a path of this door, such as `https://mesh.example`. Empty: as each of them calls it."""
    cors_origins: str = ""
    """Whose pages may call `/v1`, Connect and gRPC-Web, by commas, such as `https://mesh.example`; `*`: anybody's.
    Empty: this door's own."""
    max_body_bytes: int = Field(default=48 * 1024 * 1024, ge=64 * 1024)
    """How large the body of a request may be; pictures come in it as base64."""
    max_small_body_bytes: int = Field(default=256 * 1024, ge=16 * 1024)
    """How large a body may be that holds no pictures."""
    max_memory_bytes: int = Field(default=256 * 1024 * 1024, ge=1024 * 1024)
    """Bytes of bodies and pictures in memory, of all requests together; an address takes half of what is left."""
    max_streams: int = Field(default=1_000, ge=1)
    """How many streams of events may be open at once; an address takes half of what is left."""
    max_workers: int = Field(default=1_000, ge=1)
    """Workers that speak REST whose sessions are held here at once; an address takes half of what is left."""
    max_connections: int = Field(default=2_000, ge=1)
    """How many may be connected at once; an address takes half of what is left."""

    def origins(self) -> list[str]:
        """The origins of `cors_origins`."""
        return [origin.strip().rstrip("/") for origin in self.cors_origins.split(",") if origin.strip()]

    def outward_tls(self) -> TlsFiles | None:
        """How the gateway and storage are called: whom `tls_authorities` names, else whom the system believes; without
        TLS on this machine, or where it is meant."""
        if self.tls_authorities is not None:
            return TlsFiles(authorities=self.tls_authorities)
        return None if self.gateway_plaintext or is_loopback(self.gateway) else TlsFiles()
