"""Connections, shared by who opens them: no address takes all, and none is held open by somebody who says nothing."""

from __future__ import annotations

import asyncio
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from horde.services.addresses import Networks, address_bucket, is_proxy
from horde.services.errors import ResourceExhausted, ServiceError
from horde.services.shares import Pot, Taker

FIRST_WORDS_SECONDS: Final = 15.0
"""Until the whole head of a request must be here: of the first since it was connected, of others since they began."""


UNREAD_SECONDS: Final = 60.0
"""How long what is sent may wait for its reader: 64 KiB of it are what lies here meanwhile."""


def _full(kind: str) -> ServiceError:
    return ResourceExhausted("Too many are connected.")


def shared_connections(
    most: int, proxies: Networks, first_words_seconds: float, unread_seconds: float = UNREAD_SECONDS
) -> type[H11Protocol]:
    """The protocol of a server that holds so many connections; an address holds half of what is left at most.

    Who comes through a proxy that is named is not counted by the proxy's address. Who leaves unread what he is sent is
    hung up on.
    """
    pot = Pot(most, {"address": 1.0}, _full)

    class Connection(H11Protocol):
        """One connection."""

        _taker: Taker | None = None
        _first_words: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            taker = Taker((("address", _network(transport, proxies)),))
            try:
                pot.take(taker)
            except ServiceError:
                # Without a word: that is what it costs least.
                transport.abort()
                return
            self._taker = taker
            self._first_words = self.loop.call_later(first_words_seconds, self.transport.abort)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._end_first_words()
            elif self._first_words is None:
                # uvicorn waits for what comes after a request, but not for the end of a head that has begun.
                self._first_words = self.loop.call_later(first_words_seconds, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._taker is not None:
                pot.give_back(self._taker)
                self._taker = None
            self._end_first_words()
            if self._unread is not None:
                self._unread.cancel()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(unread_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
            super().resume_writing()

        def _end_first_words(self) -> None:
            if self._first_words is not None:
                self._first_words.cancel()
                self._first_words = None

    return Connection


def _network(transport: asyncio.Transport, proxies: Networks) -> str:
    name = transport.get_extra_info("peername")
    if not name:
        return ""
    host, port = name[:2]
    peer = f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
    return "" if is_proxy(peer, proxies) else address_bucket(peer)
