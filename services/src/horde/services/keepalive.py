"""Noticing a link that died without a word: a cable pulled, a NAT that forgot, a machine that lost its power."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Keepalive:
    """When a silent link is asked whether it lives, and how long it may take to say so.

    Both sides ask, so whoever waits for the other hears of it after `after_seconds` and `answer_seconds` together.
    """

    after_seconds: float = 10.0
    """Of silence, until a ping is sent, with or without a call."""
    answer_seconds: float = 8.0
    """Until an unanswered ping means that the link is dead."""

    def options(self) -> list[tuple[str, Any]]:
        """What both a channel and a server are told."""
        answer_ms = int(self.answer_seconds * 1000)
        return [
            ("grpc.keepalive_time_ms", int(self.after_seconds * 1000)),
            ("grpc.keepalive_timeout_ms", answer_ms),
            # gRPC waits for the longer of the two, and this one is a minute unless told.
            ("grpc.http2.ping_timeout_ms", answer_ms),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            # For a server: how often a peer may ping. Half of what we do ourselves, for clocks and loops are not exact.
            ("grpc.http2.min_ping_interval_without_data_ms", int(self.after_seconds * 500)),
        ]


KEEPALIVE = Keepalive()
"""Everybody's, unless told."""
LED = Keepalive(after_seconds=1.0, answer_seconds=2.0)
"""Between our own services where one of several leads: one that stands still keeps its connections, and who has calls
and streams there must leave it before the next one leads (`leadership.py`). It is cheap to be wrong: whoever is
left for nothing is dialled again."""
