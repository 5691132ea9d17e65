"""Which of the pictures that wait are painted next, and where: like ones together, where the model is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from horde.worker_agent.core.jobs import Capabilities, ModelOffer, Picture


def alike(one: Picture, other: Picture) -> bool:
    """Whether two pictures can be painted in one pass: nothing but words and seed differs, and neither starts from a
    picture."""
    if one.inputs or other.inputs:
        return False
    if bool(one.negative_prompt) != bool(other.negative_prompt):
        # Some models know no negative prompt from an empty one.
        return False
    words = {"prompt": "", "negative_prompt": "", "seed": 0, "unheard_of": ()}
    return replace(one, **words) == replace(other, **words)  # type: ignore[arg-type]


def choose(
    waiting: Sequence[Picture], here: Capabilities, elsewhere: Sequence[Capabilities], *, at_home: bool = False
) -> list[int]:
    """The places in `waiting`, the oldest first, of what an easel that is free paints next; none if it can do none.

    `here` is what this easel offers, `elsewhere` what the others do. The oldest comes first, unless its model is in the
    memory of another easel, not of this one: it is then that one's next, and loading the model a second time would cost
    more than the wait. It is loaded all the same if there is nothing else to do, but with `at_home`.
    """
    able = [number for number, picture in enumerate(waiting) if _offer(here, picture) is not None]
    if not able:
        return []
    own = [number for number in able if not _belongs_elsewhere(waiting[number], here, elsewhere)]
    if at_home and not own:
        return []
    first = own[0] if own else able[0]
    offer = _offer(here, waiting[first])
    most = max(1, offer.max_batch) if offer is not None else 1
    together = [number for number in able if number != first and alike(waiting[number], waiting[first])]
    return [first, *together[: most - 1]]


def _belongs_elsewhere(picture: Picture, here: Capabilities, elsewhere: Sequence[Capabilities]) -> bool:
    """Whether another easel has the picture's model in memory, and this one has not."""
    if (own := _offer(here, picture)) is not None and own.loaded:
        return False
    return any((offer := _offer(other, picture)) is not None and offer.loaded for other in elsewhere)


def _offer(offered: Capabilities, picture: Picture) -> ModelOffer | None:
    """What of an offer covers a picture."""
    for offer in offered.models:
        if offer.name == picture.model and picture.width * picture.height <= offer.max_pixels:
            return offer
    return None


def merged(offered: Sequence[Capabilities]) -> Capabilities:
    """What several easels can do as one: each model as the easel offers it that paints the largest."""
    best: dict[str, ModelOffer] = {}
    for offer in (offer for one in offered for offer in one.models):
        known = best.get(offer.name, offer)
        larger = max(known, offer, key=lambda candidate: candidate.max_pixels)
        best[offer.name] = larger.now(loaded=known.loaded or offer.loaded)
    return Capabilities(tuple(best.values()))


def devices(text: str) -> dict[str, frozenset[str]]:
    """`cuda:0,cuda:1=sdxl+turbo`: where to paint, and with which models alone; none: with all. Raises ValueError."""
    found: dict[str, frozenset[str]] = {}
    for number, part in enumerate(filter(None, (part.strip() for part in text.split(",")))):
        device, equals, names = part.partition("=")
        models = frozenset(name.strip() for name in names.split("+") if name.strip())
        if not device.strip() or (equals and not models):
            raise ValueError(f"{part!r} is not DEVICE or DEVICE=MODEL+MODEL")
        # The same device may have two painters; they need two names.
        found[device.strip() if device.strip() not in found else f"{device.strip()}#{number}"] = models
    return found
