"""Fair shares: start-time fair queueing of flows on one virtual clock.

A job's tag is given once, when it is queued:

    tag = max(clock, end of the flow's last job);   end of the flow = tag + work / weight

and the smallest tag goes first. Serving a job moves the clock to its tag and then on, by its work over the weight of
all flows that compete. So a flow that was away gains no credit, and no flow starves however many newcomers there are.

A flow competes while it has a job waiting that somebody here can paint. What nobody here can paint moves nothing: not
the clock, nor the end of what else its own flow asks for. Such jobs have an end of their own, so that they are in order
when somebody comes who can.

Weights are whole thousandths, so that their sum is exact whatever joins, leaves or changes its weight.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

ANONYMOUS_WEIGHT = 0.25
MAX_DEBTORS = 4096
"""Flows with nothing waiting that are remembered for what they were given ahead of the clock; beyond it those that owe
least are forgiven first."""


def weight_of(balance_mkudos: int) -> float:
    """A registered requester's weight: 1 + log10(1 + kudos) / 2."""
    return 1.0 + math.log10(1.0 + max(0, balance_mkudos) / 1000) / 2


@dataclass(slots=True, eq=False)
class Flow:
    """One requester's share of a queue."""

    weight: int
    """Thousandths."""
    end: float
    """When, on the virtual clock, all that it asked for will have had its turn, but for what nobody here can paint."""
    unpaintable_end: float
    """The same, of what nobody here can paint."""
    served: float
    """The same, of what it was given."""
    waiting: int = 0
    paintable: int = 0
    """Of those that wait."""


class Shares:
    """All flows of one queue that wait or owe something."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.weight = 0
        """Thousandths: of the flows that compete."""
        self.flows: dict[str, Flow] = {}
        self._debts: list[tuple[float, str]] = []
        """A heap: when each flow with nothing waiting will owe nothing any more; also entries that hold no longer."""
        self._debtors = 0

    def enter(self, name: str, weight: float, work: float, paintable: bool) -> float:
        """Queue a job of a flow, at the flow's weight of now; returns its tag."""
        flow = self.join(name, weight, paintable)
        if not paintable:
            tag = max(self.clock, flow.unpaintable_end)
            flow.unpaintable_end = tag + work * 1000 / flow.weight
            return tag
        if flow.paintable == 1:
            flow.served = max(flow.served, self.clock)  # While it did not compete it saved nothing up.
        tag = max(self.clock, flow.end)
        flow.end = tag + work * 1000 / flow.weight
        return tag

    def join(self, name: str, weight: float, paintable: bool) -> Flow:
        """Queue a job that had its tag already."""
        thousandths = max(1, round(weight * 1000))
        flow = self.flows.get(name)
        if flow is None:
            flow = self.flows[name] = Flow(thousandths, self.clock, self.clock, self.clock)
        else:
            if not flow.waiting:
                self._debtors -= 1
            if flow.weight != thousandths:
                if flow.paintable:
                    self.weight += thousandths - flow.weight
                flow.weight = thousandths
        flow.waiting += 1
        if paintable:
            self._count(flow, 1)
        return flow

    def turned(self, name: str, by: int) -> None:
        """So many more, or fewer, of a flow's waiting jobs can be painted by somebody here than could before."""
        flow = self.flows[name]
        if by > 0:
            flow.end = max(flow.end, flow.unpaintable_end)
        self._count(flow, by)

    def _count(self, flow: Flow, by: int) -> None:
        competed = flow.paintable > 0
        flow.paintable += by
        if competed != (flow.paintable > 0):
            self.weight += -flow.weight if competed else flow.weight

    def serve(self, name: str, tag: float, work: float) -> None:
        """A job of a flow is given to a worker: it has its turn."""
        flow = self.flows[name]
        flow.served = max(flow.served, tag) + work * 1000 / flow.weight
        flow.end = max(flow.end, flow.served)
        self.clock = max(self.clock, tag) + work * 1000 / max(self.weight, flow.weight)
        self._leave(name, flow, paintable=True)
        self._settle()

    def withdraw(self, name: str, paintable: bool) -> None:
        """A job of a flow leaves without having had its turn."""
        flow = self.flows[name]
        if flow.waiting == 1:
            flow.end = flow.unpaintable_end = (
                flow.served
            )  # Nothing of it waits any more: it owes what it was given, not what it asked for.
        self._leave(name, flow, paintable)

    def _leave(self, name: str, flow: Flow, paintable: bool) -> None:
        if paintable:
            self._count(flow, -1)
        flow.waiting -= 1
        if flow.waiting:
            return
        if flow.end <= self.clock:
            del self.flows[name]
            return
        self._debtors += 1
        heapq.heappush(self._debts, (flow.end, name))
        if self._debtors > MAX_DEBTORS or len(self._debts) > 2 * self._debtors + 64:
            self._forgive()

    def _settle(self) -> None:
        """Flows that the clock has caught up with owe nothing."""
        debts = self._debts
        while debts and debts[0][0] <= self.clock:
            name = heapq.heappop(debts)[1]
            flow = self.flows.get(name)
            if flow is not None and not flow.waiting and flow.end <= self.clock:
                del self.flows[name]
                self._debtors -= 1

    def _forgive(self) -> None:
        debts = sorted((flow.end, name) for name, flow in self.flows.items() if not flow.waiting)
        if len(debts) > MAX_DEBTORS:
            # A quarter at once, so that sorting costs little for each.
            for _, name in debts[: MAX_DEBTORS // 4]:
                del self.flows[name]
            del debts[: MAX_DEBTORS // 4]
        self._debts, self._debtors = debts, len(debts)
