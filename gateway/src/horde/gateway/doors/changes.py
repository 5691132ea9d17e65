"""The changes that a quote proposes: made, priced and estimated like what was asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from horde.api.generation.v1 import generation_pb2 as pb
from horde.gateway.core.changes import Offer, fewer_steps, smaller, worth_saying
from horde.gateway.core.errors import InvalidField

OTHER_MODELS = 2
Change = tuple[pb.QuoteChangeKind.ValueType, str, pb.GenerationSpec]
"""Its kind, what to ask for in people's words, and the whole of it."""
Price = Callable[[pb.GenerationSpec], int]
"""The total; raises InvalidField for what cannot be asked for."""
Estimate = Callable[[Sequence[pb.GenerationSpec]], Awaitable[Sequence[pb.WaitEstimate]]]


def possible(spec: pb.GenerationSpec, models: Sequence[str], *, may_share: bool) -> list[Change]:
    """Everything that could be asked for otherwise, one thing at a time; `models` in the stead of this one."""
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
    if size := smaller(image.width, image.height):
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


async def proposed(changes: Sequence[Change], now: Offer, price: Price, estimate: Estimate) -> list[pb.QuoteChange]:
    """Those of the changes that are worth saying, best first, each with its price and its wait."""
    priced = []
    for change in changes:
        try:
            priced.append((change, price(change[2])))
        except InvalidField:
            continue  # It cannot be asked for together with the rest.
    waits = await estimate([spec for (_, _, spec), _ in priced])
    offers = [Offer(total, begins_in(wait)) for (_, total), wait in zip(priced, waits, strict=True)]
    answer = []
    for index in worth_saying(now, offers):
        ((kind, value, _), total), wait = priced[index], waits[index]
        message = pb.QuoteChange(kind=kind, value=value, total_mkudos=total)
        if wait.eligible_workers:
            message.wait.CopyFrom(wait)
        answer.append(message)
    return answer


def begins_in(wait: pb.WaitEstimate) -> float | None:
    """Seconds until it is begun, half of the time; None where nobody here could do it."""
    return wait.p50.ToTimedelta().total_seconds() if wait.eligible_workers else None
