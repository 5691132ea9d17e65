"""The changes that a quote proposes: made, priced and estimated like what was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from horde.api.generation.v1 import generation_pb2 as pb
from horde.gateway.core.changes import Offer, ever_smaller, fewer_steps, worth_saying
from horde.gateway.core.errors import InvalidField
from horde.gateway.core.requesters import Principal
from horde.gateway.doors import wire
from horde.gateway.doors.catalogue import Catalogue
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.internal.scheduler.v1.scheduler_service_pb2 import EstimateWait
from horde.services.errors import ServiceError

OTHER_MODELS = 2
ESTIMATE_SECONDS = 0.5
"""How long a quote waits for the scheduler's word on waiting."""
Change = tuple[pb.QuoteChangeKind.ValueType, str, pb.GenerationSpec]
"""Its kind, what to ask for in people's words, and the whole of it."""
Price = Callable[[Principal, pb.GenerationSpec], int]
"""The total; raises InvalidField for what cannot be asked for."""


class Changes:
    """What quotes propose."""

    def __init__(self, scheduler: SchedulerClient, catalogue: Catalogue, price: Price) -> None:
        self._scheduler, self._catalogue, self._price = scheduler, catalogue, price

    async def worth_saying(
        self, principal: Principal, spec: pb.GenerationSpec, total_mkudos: int, wait: pb.WaitEstimate
    ) -> list[pb.QuoteChange]:
        """What would begin sooner or cost less than this; nothing where the neighbours do not say so in time."""
        now = Offer(total_mkudos, begins_in(wait))
        may_share = not principal.anonymous and not wire.generation_spec(spec).has_input
        try:
            async with asyncio.timeout(ESTIMATE_SECONDS):
                # Where it begins at once, another model has nothing to offer.
                models = [] if now.seconds == 0 else await self._catalogue.alternatives(spec.job.model)
                return await self._proposed(
                    principal,
                    possible(spec, models, may_share=may_share, sizes=None if now.seconds is None else 1),
                    now,
                )
        except (ServiceError, TimeoutError):
            return []

    async def _proposed(self, principal: Principal, changes: Sequence[Change], now: Offer) -> list[pb.QuoteChange]:
        """Those that are worth saying, best first, each with its price and its wait."""
        priced = []
        for change in changes:
            try:
                priced.append((change, self._price(principal, change[2])))
            except InvalidField:
                continue  # It cannot be asked for together with the rest.
        requester = wire.requester_message(principal.requester)
        questions = [EstimateWait(spec=spec, requester=requester) for (_, _, spec), _ in priced]
        waits = [answer.wait for answer in await asyncio.gather(*map(self._scheduler.estimate, questions))]
        paintable = [pair for pair in zip(priced, waits, strict=True) if pair[1].eligible_workers]
        # Of several smaller sizes only the largest that somebody here can paint.
        too_small = [pair for pair in paintable if pair[0][0][0] == pb.QUOTE_CHANGE_KIND_SMALLER][1:]
        proposed = [pair for pair in paintable if pair not in too_small]
        offers = [Offer(total, begins_in(wait)) for (_, total), wait in proposed]
        answer = []
        for index in worth_saying(now, offers):
            ((kind, value, _), total), wait = proposed[index]
            answer.append(pb.QuoteChange(kind=kind, value=value, total_mkudos=total, wait=wait))
        return answer


def possible(
    spec: pb.GenerationSpec, models: Sequence[str], *, may_share: bool, sizes: int | None = None
) -> list[Change]:
    """Everything that could be asked for otherwise, one thing at a time; `models` in the stead of this one, and so many
    smaller sizes, the largest first (None: all)."""
    image, found = spec.job.image, list[Change]()

    def change(kind: pb.QuoteChangeKind.ValueType, value: str) -> pb.GenerationSpec:
        changed = pb.GenerationSpec()
        changed.CopyFrom(spec)
        found.append((kind, value, changed))
        return changed

    if spec.fast_workers_only:
        change(pb.QUOTE_CHANGE_KIND_ALLOW_SLOW_WORKERS, "").fast_workers_only = False
    if spec.denied_worker_ids:
        del change(pb.QUOTE_CHANGE_KIND_ALLOW_DENIED_WORKERS, "").denied_worker_ids[:]
    for size in ever_smaller(image.width, image.height)[:sizes]:
        changed = change(pb.QUOTE_CHANGE_KIND_SMALLER, f"{size[0]}x{size[1]}")
        changed.job.image.width, changed.job.image.height = size
        # A first pass that is no smaller than the picture is none.
        changed.job.image.ClearField("hires_fix")
    if steps := fewer_steps(image.steps):
        change(pb.QUOTE_CHANGE_KIND_FEWER_STEPS, str(steps)).job.image.steps = steps
    for model in models[:OTHER_MODELS]:
        change(pb.QUOTE_CHANGE_KIND_OTHER_MODEL, model).job.model = model
    if may_share and not spec.share:
        change(pb.QUOTE_CHANGE_KIND_SHARE, "").share = True
    return found


def begins_in(wait: pb.WaitEstimate) -> float | None:
    """Seconds until it is begun, half of the time; None where nobody here could do it."""
    return wait.p50.ToTimedelta().total_seconds() if wait.eligible_workers else None
