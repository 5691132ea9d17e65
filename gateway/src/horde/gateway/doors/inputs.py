"""The pictures that a generation begins with: whether they are there, and which of them a refusal means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from horde.gateway.core.errors import InputUnusable, InvalidField
from horde.gateway.core.requesters import Requester
from horde.gateway.core.sizes import Size, size_violations
from horde.gateway.core.spec import GenerationSpec
from horde.gateway.doors import wire
from horde.gateway.neighbours.refusals import STORAGE, outward, told_outward
from horde.gateway.neighbours.storage import StorageClient
from horde.services.errors import ServiceError


class Inputs:
    """Looks at them in storage."""

    def __init__(self, storage: StorageClient, max_pixels: int) -> None:
        self._storage = storage
        self._max_pixels = max_pixels

    async def check(self, requester: Requester, spec: GenerationSpec) -> None:
        """Whether storage has the inputs, for this requester, and they fit together. Nothing to ask without inputs.

        Raises InputUnusable or InvalidField.
        """
        named = spec.image.inputs if spec.image is not None else ()
        if not named:
            return
        with told_outward():
            answers = await self._storage.describe(
                wire.requester_message(requester), [wire.input_message(ref) for _, ref in named]
            )
        sizes = {}
        for (field, ref), answer in zip(named, answers, strict=True):
            if isinstance(answer, ServiceError):
                if answer.reason not in ("INPUT_UNUSABLE", "OBJECT_NOT_FOUND"):
                    raise outward(answer)
                raise _unusable(ref.input_id, field)
            sizes[field] = Size(answer.width, answer.height)
        wrong = size_violations(sizes, self._max_pixels)
        if wrong:
            raise InvalidField(violations=wrong)


@contextmanager
def naming_input(spec: GenerationSpec) -> Iterator[None]:
    """Around a submission: the scheduler claims the inputs, and one may have gone after it was looked at.

    Storage's refusal, which the scheduler hands on, becomes this door's InputUnusable.
    """
    try:
        yield
    except ServiceError as refusal:
        if (refusal.domain, refusal.reason) != (STORAGE, "INPUT_UNUSABLE"):
            raise
        input_id = refusal.metadata.get("input_id", "")
        named = spec.image.inputs if spec.image is not None else ()
        raise _unusable(input_id, *[field for field, ref in named if ref.input_id == input_id][:1]) from None


def _unusable(input_id: str, field: str = "source_image") -> InputUnusable:
    return InputUnusable(metadata={"input_id": input_id, "field": f"spec.job.image.{field}"})
