"""Channels to storage routers, by address: dialled when an assignment first names one, kept for the next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from horde.services.channel import dial
from horde.services.tls import TlsFiles, is_loopback

MAX_DOORS = 16
"""How many routers one worker knows at once; an assignment that names one more is refused."""
ANYBODY = TlsFiles()
"""Whom the system believes."""


class TooManyDoors(Exception):
    """More storage addresses were named than this agent keeps channels to."""


class StorageDoors:
    """Where pictures are fetched from and brought to."""

    def __init__(self, stack: AsyncExitStack, tls: TlsFiles | None, plaintext: bool) -> None:
        self._stack = stack
        self._tls = tls
        self._plaintext = plaintext
        self._stubs: dict[str, StorageServiceStub] = {}

    async def at(self, address: str) -> StorageServiceStub:
        """The router at a gRPC target. Raises TooManyDoors."""
        stub = self._stubs.get(address)
        if stub is None:
            if len(self._stubs) >= MAX_DOORS:
                raise TooManyDoors(f"{len(self._stubs)} storage routers are known already")
            tls = self._tls or (None if self._plaintext or is_loopback(address) else ANYBODY)
            # What goes wrong is tried again by upload.py and inputs.py, from the right byte: not by gRPC.
            channel = await self._stack.enter_async_context(
                dial(
                    address,
                    caller=None,
                    tls=tls,
                    plaintext=self._plaintext,
                    retry=False,
                    neighbour="storage router",
                )
            )
            stub = self._stubs[address] = StorageServiceStub(channel)
        return stub


@asynccontextmanager
async def storage_doors(tls: TlsFiles | None = None, *, plaintext: bool = False) -> AsyncIterator[StorageDoors]:
    """Doors for as long as the block. Without `tls`, loopback is plain and every other address needs TLS."""
    async with AsyncExitStack() as stack:
        yield StorageDoors(stack, tls, plaintext)
