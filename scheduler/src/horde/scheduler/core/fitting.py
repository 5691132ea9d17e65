"""What a job needs of a worker, and why a worker does not fit.

A *signature* is everything that makes jobs of a model alike for every worker. Sizes in it are exact: a worker that
paints up to 600x600 fits 576x576 and not 640x640, although both are of one size class (which only groups measured
speeds).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from horde.scheduler.core.job import Job, Terms, WorkerId
from horde.scheduler.core.speeds import Speeds
from horde.scheduler.core.standing import PROVEN_FEATURE

if TYPE_CHECKING:
    from horde.scheduler.core.fleet import Worker

CLASS_BOUNDS = tuple(side * side for side in (256, 512, 768, 1024, 1280, 1536, 2048, 3072, 4096))
"""Largest number of pixels of each size class."""

_NOBODY: frozenset[WorkerId] = frozenset()


def size_class(pixels: int) -> int:
    return bisect_left(CLASS_BOUNDS, pixels)


class Signature(NamedTuple):
    """What makes jobs of a model alike for every worker."""

    features: int
    """A mask, as Terms.features."""
    pixels: int
    fast_only: bool = False
    allowed: frozenset[WorkerId] = _NOBODY
    """If not empty, nobody else may have it."""
    denied: frozenset[WorkerId] = _NOBODY


def signature_of(job: Job) -> Signature:
    """What this job needs now: who is barred from it counts as denied."""
    terms = job.generation.terms
    features = terms.features | PROVEN_FEATURE if job.wary else terms.features
    return signature_of_terms(terms, terms.denied | job.barred if job.barred else terms.denied, features)


def signature_of_terms(terms: Terms, denied: frozenset[WorkerId], features: int | None = None) -> Signature:
    return Signature(
        terms.features if features is None else features,
        terms.width * terms.height,
        terms.fast_only,
        terms.allowed,
        denied,
    )


class WhyNot:
    """Why a worker cannot paint a job, or will not now; numbers of the contract."""

    MODEL = 1
    SIZE = 2
    FEATURE = 3
    DENIED = 4
    SLOW = 5
    PAUSED = 6
    TRIED_BEFORE = 7
    NO_SLOTS = 8
    """It is here and asks for nothing."""
    RESTING = 9
    REFUSED_MODEL = 10
    BACKING_OFF = 11


def why_not(signature: Signature, worker: Worker, model: str, speeds: Speeds) -> int | None:
    """Why this worker can paint no job of this signature; None if it can."""
    capabilities = worker.capabilities
    if model not in capabilities.offers:
        return WhyNot.MODEL
    if signature.features & ~capabilities.offers[model].features:
        return WhyNot.FEATURE
    if signature.pixels > capabilities.limit(model):
        return WhyNot.SIZE
    if worker.worker_id in signature.denied:
        return WhyNot.DENIED
    if signature.allowed and worker.worker_id not in signature.allowed:
        return WhyNot.DENIED
    if signature.fast_only and not speeds.is_fast(worker.worker_id, model):
        return WhyNot.SLOW
    return None
