"""What must hold of an answer whatever was asked for. Pure: each takes an answer and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

Json = dict[str, Any]


def _int(value: Any) -> int:
    return int(value or 0)


def price_adds_up(answer: Json) -> Iterator[str]:
    """The total is count times each image, and an image the sum of its parts."""
    quote = answer.get("quote") or answer["generation"]["quote"]
    image = quote["per_image"]
    surcharges = sum(_int(part.get("amount_mkudos")) for part in image.get("surcharges", []))
    parts = _int(image.get("price_mkudos")) + surcharges + _int(image.get("tax_mkudos"))
    if parts != _int(image.get("total_mkudos")):
        yield f"the parts of an image are {parts}, its total {image.get('total_mkudos')}"
    if _int(image.get("total_mkudos")) == 0 or _int(quote.get("total_mkudos")) % _int(image["total_mkudos"]):
        yield f"{quote.get('total_mkudos')} in all is no multiple of {image.get('total_mkudos')}"


def seeds_count(answer: Json) -> Iterator[str]:
    """Image i is painted with the first seed + i."""
    seeds = [_int(image.get("seed")) for image in answer["generation"]["images"]]
    if seeds != [(seeds[0] + number) % 2**63 for number in range(len(seeds))]:
        yield f"the seeds are {seeds}"


def all_done(answer: Json) -> Iterator[str]:
    """Every image is done, with bytes somewhere."""
    for image in answer["generation"]["images"]:
        if image.get("ending") != "JOB_ENDING_DONE":
            yield f"image {image.get('index', 0)} ended {image.get('ending')} {image.get('ending_detail', '')}"
        elif not image.get("sha256") or not _int(image.get("size_bytes")):
            yield f"image {image.get('index', 0)} has no digest or no size"


def settled_adds_up(answer: Json) -> Iterator[str]:
    """What became of an image's kudos adds up to what was held for it."""
    held = _int(answer["generation"]["quote"]["per_image"]["total_mkudos"])
    for image in answer["generation"]["images"]:
        settlement = image.get("settlement") or {}
        names = ("earned_mkudos", "tax_mkudos", "surcharge_mkudos", "returned_mkudos")
        divided = sum(_int(settlement.get(name)) for name in names)
        if divided != held + _int(settlement.get("from_censor_subsidy_mkudos")):
            yield f"image {image.get('index', 0)}: {divided} was divided, {held} held"


def versions_grow(answer: Json) -> Iterator[str]:
    """A watch begins with a snapshot, ends finished, and its durable versions never go back."""
    events = answer["events"]
    kinds = [event["kind"] for event in events]
    if kinds[0] != "snapshot" or kinds[-1] != "finished":
        yield f"it went {kinds}"
    versions = [_int(event["version"]) for event in events if "version" in event]
    if versions != sorted(versions):
        yield f"the versions are {versions}"


def pictures_match(answer: Json) -> Iterator[str]:
    """Bytes that were fetched are those that were promised."""
    if not answer["pictures"]:
        yield "there are no pictures"
    for picture in answer["pictures"]:
        if picture["sha256"] != picture["promised_sha256"]:
            yield f"image {picture['index']} is {picture['sha256']} instead of {picture['promised_sha256']}"


def consent_is_whole(answer: Json) -> Iterator[str]:
    """The digest of the consent text is that of the text."""
    import base64
    import hashlib

    consent = answer["response"]["consent"]
    if base64.b64decode(consent["sha256"]) != hashlib.sha256(consent["text"].encode()).digest():
        yield "the consent text is not the one that its digest names"


INVARIANTS: Final[dict[str, Callable[[Json], Iterator[str]]]] = {
    invariant.__name__: invariant
    for invariant in (
        price_adds_up, seeds_count, all_done, settled_adds_up, versions_grow, pictures_match, consent_is_whole,
    )
}  # fmt: skip
