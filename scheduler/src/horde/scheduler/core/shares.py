"""Fair shares: start-time fair queueing of flows on one virtual clock.

A job's tag is given once, when it is queued:

    tag = max(clock, end of the flow's last job);   end of the flow = tag + work / weight

and the smallest tag goes first. Serving a job moves the clock to its tag and then on, by its work over the weight of
all *active* flows: those whose end lies ahead of the clock. So a flow that was away gains no credit, and no flow
starves however many newcomers there are. It is also what takes unpaintable jobs out of the reckoning: once the clock
has passed the end of a flow, what still waits of it weighs nothing, exactly as if it had had its turn.

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
    """When, on the virtual clock, all that it asked for will have had its turn."""
    served: float
    """The same, of what it was given."""
    waiting: int = 0
    active: bool = False


class Shares:
    """All flows of one queue that wait or owe something."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.weight = 0
        """Thousandths: of the active flows."""
        self.flows: dict[str, Flow] = {}
        self._ends: list[tuple[float, str]] = []
        """A heap; at least one entry for each active flow, not later than its end."""
        self._debtors = 0

    def enter(self, name: str, weight: float, work: float) -> float:
        """Queue a job of a flow, at the flow's weight of now; returns its tag."""
        flow = self.joined(name, weight)
        tag = max(self.clock, flow.end)
        flow.end = tag + work * 1000 / flow.weight
        if not flow.active and flow.end > self.clock:
            flow.served = max(flow.served, self.clock)
            self._activate(name, flow)
        return tag

    def joined(self, name: str, weight: float) -> Flow:
        """Queue a job that had its tag already."""
        thousandths = max(1, round(weight * 1000))
        flow = self.flows.get(name)
        if flow is None:
            flow = self.flows[name] = Flow(thousandths, self.clock, self.clock)
        elif flow.weight != thousandths:
            if flow.active:
                self.weight += thousandths - flow.weight
            flow.weight = thousandths
        if flow.active and not flow.waiting:
            self._debtors -= 1
        flow.waiting += 1
        return flow

    def serve(self, name: str, tag: float, work: float) -> None:
        """A job of a flow was given to a worker: it has had its turn."""
        flow = self.flows[name]
        flow.served = max(flow.served, tag + work * 1000 / flow.weight)
        self.clock = max(self.clock, tag) + work * 1000 / max(self.weight, flow.weight)
        self._leave(name, flow)
        self._settle()

    def withdraw(self, name: str) -> None:
        """A job of a flow left without having had its turn."""
        flow = self.flows[name]
        if flow.waiting == 1 and flow.end > flow.served:
            # Nothing of it waits any more: it owes what it was given, not what it asked for.
            flow.end = flow.served
            if flow.active:
                heapq.heappush(self._ends, (flow.end, name))
        self._leave(name, flow)
        self._settle()

    def _leave(self, name: str, flow: Flow) -> None:
        flow.waiting -= 1
        if flow.waiting:
            return
        if not flow.active:
            del self.flows[name]
            return
        self._debtors += 1
        if self._debtors > MAX_DEBTORS:
            self._forgive()

    def _activate(self, name: str, flow: Flow) -> None:
        flow.active = True
        self.weight += flow.weight
        heapq.heappush(self._ends, (flow.end, name))
        if len(self._ends) > 2 * len(self.flows) + 64:
            self._ends = [(each.end, name) for name, each in self.flows.items() if each.active]
            heapq.heapify(self._ends)

    def _settle(self) -> None:
        """Flows whose end the clock has passed are active no longer."""
        ends = self._ends
        while ends and ends[0][0] <= self.clock:
            name = ends[0][1]
            flow = self.flows.get(name)
            if flow is None or not flow.active:
                heapq.heappop(ends)
            elif flow.end > self.clock:
                heapq.heapreplace(ends, (flow.end, name))
            else:
                heapq.heappop(ends)
                self._deactivate(name, flow)

    def _deactivate(self, name: str, flow: Flow) -> None:
        flow.active = False
        self.weight -= flow.weight
        if not flow.waiting:
            self._debtors -= 1
            del self.flows[name]

    def _forgive(self) -> None:
        debtors = [(flow.end, name) for name, flow in self.flows.items() if not flow.waiting]
        debtors.sort()
        # A quarter at once, so that sorting costs little for each.
        for _, name in debtors[: MAX_DEBTORS // 4]:
            self._deactivate(name, self.flows[name])
