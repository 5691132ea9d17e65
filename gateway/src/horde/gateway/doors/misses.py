"""Looking for what is not there: whoever does so again and again is told, for a while, without a look.

A look costs the scheduler and this gateway several times what a refusal costs. What is not there is not remembered: it
may be made at any time, also through another gateway, and whoever has made it finds it. Who looks is counted instead:
accounts each for themselves, and so is an anonymous token under which something was made or found here; all other
tokens of a network together, for a token costs nothing. Counted in this process alone, without a question to others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from horde.gateway.core.errors import RateLimited
from horde.gateway.core.rates import Rates
from horde.gateway.core.requesters import Principal
from horde.services.clock import Clock
from horde.services.errors import NotFound
from horde.services.rates import Counters, Draw

REMEMBERED = 10_000
"""Tokens under which something was found; and as many callers and networks that looked for what is not there."""


class Misses:
    """Counts them."""

    def __init__(self, rates: Rates, clock: Clock) -> None:
        self._rates = rates
        self._clock = clock
        self._counters = Counters(REMEMBERED)
        self._found: OrderedDict[str, None] = OrderedDict()

    def found(self, principal: Principal) -> None:
        """Something is there under this name."""
        if principal.anonymous:
            self._found[str(principal)] = None
            self._found.move_to_end(str(principal))
            if len(self._found) > REMEMBERED:
                self._found.popitem(last=False)

    @contextmanager
    def look(self, principal: Principal, network: str) -> Iterator[None]:
        """A look for what somebody names; raises RateLimited where too many found nothing."""
        draw = None if principal.pass_of else self._draw(principal, network)  # A pass was looked up already.
        if draw is not None and (late := self._counters.look([draw], self._clock.monotonic())) is not None:
            raise RateLimited(metadata={"limit": str(draw.rate)}, retry_after=timedelta(seconds=late.seconds))
        try:
            yield
        except NotFound:
            if draw is not None:
                self._counters.admit([draw], self._clock.monotonic())
            raise
        self.found(principal)

    def _draw(self, principal: Principal, network: str) -> Draw | None:
        rates, name = self._rates, str(principal)
        if principal.anonymous and name not in self._found:
            return Draw(network, rates.address_misses, of_address=True) if rates.address_misses else None
        rate = rates.anonymous_misses if principal.anonymous else rates.account_misses
        return Draw(name, rate) if rate else None
