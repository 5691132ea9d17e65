"""A quote and its consequences in words: the price with its parts, the placement with its reason, the wait."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from rich.markup import escape

from horde.api.generation.v1.generation_pb2 import (
    GenerationSpec,
    IneligibleReason,
    Quote,
    QuoteChange,
    QuoteChangeKind,
    WaitEstimate,
)
from horde.api.job.v1.job_pb2 import Placement, PlacementFacts, PriceParts
from horde.cli.commands.output import Output, kudos, seconds, while_text
from horde.clients.price_words import multipliers_text, surcharge_name

_INELIGIBLE: Final = {
    IneligibleReason.INELIGIBLE_REASON_MODEL: "do not offer this model",
    IneligibleReason.INELIGIBLE_REASON_SIZE: "cannot paint this size",
    IneligibleReason.INELIGIBLE_REASON_FEATURE: "lack a feature that this needs",
    IneligibleReason.INELIGIBLE_REASON_DENIED: "are denied by you",
    IneligibleReason.INELIGIBLE_REASON_SLOW: "are too slow for you",
    IneligibleReason.INELIGIBLE_REASON_PAUSED: "are paused",
    IneligibleReason.INELIGIBLE_REASON_TRIED_BEFORE: "have tried it before",
}
_CHANGES: Final = {
    QuoteChangeKind.QUOTE_CHANGE_KIND_SMALLER: "--width {width} --height {height}",
    QuoteChangeKind.QUOTE_CHANGE_KIND_FEWER_STEPS: "--steps {}",
    QuoteChangeKind.QUOTE_CHANGE_KIND_OTHER_MODEL: "--model {}",
    QuoteChangeKind.QUOTE_CHANGE_KIND_ALLOW_SLOW_WORKERS: "without --fast",
    QuoteChangeKind.QUOTE_CHANGE_KIND_ALLOW_DENIED_WORKERS: "without --deny",
    QuoteChangeKind.QUOTE_CHANGE_KIND_SHARE: "--share",
}

USUAL_TIME_TO_LIVE: Final = timedelta(minutes=20)
"""Where a request names none, as the contract says."""


def placement_reason(facts: PlacementFacts) -> str:
    """Why an image goes where it goes, by the rule of the contract."""
    if facts.has_input:
        return "a source image, mask or control image is used: somebody's photo may be in it"
    if facts.anonymous:
        return "anonymous text to image is always shared"
    return "you asked for it" if facts.asked else "you did not ask to share"


def placement_name(placement: Placement.ValueType) -> str:
    """`private` or `shared`."""
    return Placement.Name(placement).removeprefix("PLACEMENT_").lower()


def say_quote(out: Output, quote: Quote, spec: GenerationSpec) -> None:
    """The price part by part, the placement, the notices and the wait."""
    count = spec.count
    price = quote.per_image
    parts = [f"{kudos(price.price_mkudos)} painting{_how(price)}"]
    parts += [f"{kudos(surcharge.amount_mkudos)} {surcharge_name(surcharge)}" for surcharge in price.surcharges]
    parts.append(f"{kudos(price.tax_mkudos)} tax")
    times = f" x {count} = [bold]{kudos(quote.total_mkudos)} kudos[/bold]" if count > 1 else " kudos"
    out.say(f"price      {' + '.join(parts)} = [bold]{kudos(price.total_mkudos)}[/bold]{times}")
    if quote.HasField("available_mkudos"):
        out.say(f"available  {kudos(quote.available_mkudos)} kudos")
    out.say(f"goes to    the [bold]{placement_name(quote.placement)}[/bold] bucket: {placement_reason(quote.facts)}")
    for notice in quote.notices:
        out.say(f"note       {escape(notice.text)}")
    if quote.HasField("wait"):
        out.say(f"wait       {wait_text(quote.wait)}")
    else:
        patience = spec.time_to_live.ToTimedelta() if spec.HasField("time_to_live") else USUAL_TIME_TO_LIVE
        out.say(
            f"wait       at most {while_text(patience)} (--ttl) for a worker that can; if none comes, it ends unpaid"
        )
    for change in quote.changes:
        out.say(f"instead    {change_text(change, quote)}")


def change_text(change: QuoteChange, quote: Quote) -> str:
    """One thing to ask for otherwise, with what it changes."""
    template = _CHANGES.get(change.kind, "something else {}")
    # A size is one value in the contract and two options here.
    width, _, height = change.value.partition("x")
    words = [escape(template.format(change.value, width=width, height=height))]
    if change.HasField("wait"):
        begins = change.wait.p50.ToTimedelta().total_seconds()
        now = quote.wait.p50.ToTimedelta().total_seconds() if quote.HasField("wait") else None
        if now is None or begins < now:
            words.append(f"begins in {seconds(begins)}")
    difference = quote.total_mkudos - change.total_mkudos
    if difference:
        words.append(f"{kudos(abs(difference))} kudos {'less' if difference > 0 else 'more'}")
    return ": ".join((words[0], ", ".join(words[1:])))


def _how(price: PriceParts) -> str:
    """How the price of the painting came about, where anything made it dearer."""
    return f" ({kudos(price.base_mkudos)} base {multipliers_text(price)})" if price.multipliers else ""


def wait_text(wait: WaitEstimate) -> str:
    """When it may begin, among whom, and why not with others."""
    half, nine = wait.p50.ToTimedelta().total_seconds(), wait.p90.ToTimedelta().total_seconds()
    others = "; ".join(f"{group.workers} {_INELIGIBLE.get(group.reason, 'cannot')}" for group in wait.ineligible)
    if not wait.eligible_workers:
        return f"for a worker that can do it ({others})" if others else "for a worker"
    workers = "1 worker" if wait.eligible_workers == 1 else f"{wait.eligible_workers} workers"
    text = f"{wait.jobs_ahead} ahead, begins in {seconds(half)} to {seconds(nine)}, {workers}"
    return f"{text} ({others})" if others else text
