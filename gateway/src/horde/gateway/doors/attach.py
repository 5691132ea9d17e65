"""The rules of a worker's stream that this side keeps: what a hello must be, what may be said after it, and how fast.

Bounds and shapes only. What a message means is for the scheduler to decide.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from google.protobuf.unknown_fields import UnknownFieldSet

from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as service_pb2
from horde.gateway.core.errors import HelloExpected, InvalidWorkerField, ProtocolViolation
from horde.gateway.core.validation import MAX_INT63, MAX_STEPS, Violations
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.clock import Clock
from horde.services.errors import FieldViolation
from horde.services.unknown_fields import refuse_unknown_fields

MAX_MESSAGE_BYTES = 256 * 1024
"""Of what a worker says, so that no message of one takes the room of the stream that carries all of them."""
MAX_HELLO_BYTES = 64 * 1024
"""The largest that the bounds below allow is 43 KiB. Every hello is said anew when the relay opens anew."""
MAX_MODELS = 256
MAX_FEATURES = 32
MAX_SAMPLERS = 64
SIZE_MULTIPLES = frozenset({0, 8, 16, 32, 64})
MAX_LEASES = 256
MAX_OUTCOMES = 1_024
MAX_SLOTS = 64
MAX_PACE_SECONDS = 3_600
MAX_AGENT_CHARACTERS = 128
MAX_DETAIL_CHARACTERS = 500
MAX_ID_CHARACTERS = 64
MAX_DEVIATIONS = 32
MAX_MADE_GUIDANCE = 1_000
"""What a model's own guidance may be: beyond what may be asked for, and no nonsense."""
MAX_RECEIPT_CHARACTERS = 4_096
MAX_VIOLATIONS = 8
"""Of one outcome that are told."""
MAX_DEVIATION_CHARACTERS = 200
"""With the most images and deviations a generation must still fit into one message of 4 MiB."""
MESSAGES_A_SECOND = 500
"""Of one session, for long: 64 jobs at once that report eight steps a second each."""
MESSAGES_AT_ONCE = 2_000
"""More than a restatement leaves to be said one by one."""
BYTES_OF_A_MESSAGE = 4 * 1024
"""A larger message counts as several, so that bytes are bounded as well: by 2 MB a second and 8 MB at once."""


@dataclass(slots=True)
class Pace:
    """How fast one session may speak: a bucket of MESSAGES_AT_ONCE that fills by MESSAGES_A_SECOND."""

    _full_at: float = 0.0
    """When the bucket would be full again, in monotonic seconds."""

    def spend(self, size_bytes: int, now: float) -> float:
        """Count one message; how many seconds the next must wait to be read, 0 while the pace is kept."""
        cost = (1 + size_bytes // BYTES_OF_A_MESSAGE) / MESSAGES_A_SECOND
        self._full_at = max(self._full_at, now) + cost
        return max(0.0, self._full_at - now - MESSAGES_AT_ONCE / MESSAGES_A_SECOND)


class Paced:
    """What one worker says, read no faster than its pace.

    Who says more is not sent away: its messages stay where they are, and the stream's flow control makes it wait.
    """

    def __init__(self, requests: AsyncIterator[service_pb2.AttachRequest], clock: Clock) -> None:
        self._requests = requests
        self._clock = clock
        self._pace = Pace()
        self._wait = 0.0

    def __aiter__(self) -> AsyncIterator[service_pb2.AttachRequest]:
        return self

    async def __anext__(self) -> service_pb2.AttachRequest:
        if self._wait:
            await self._clock.sleep(self._wait)
        request = await anext(self._requests)
        self._wait = self._pace.spend(request.ByteSize(), self._clock.monotonic())
        return request


def checked_hello(first: service_pb2.AttachRequest) -> service_pb2.Hello:
    """The hello that opens a stream; raises HelloExpected or InvalidWorkerField."""
    kind = first.WhichOneof("message")
    if kind != "hello":
        raise HelloExpected(metadata={"got": kind or "nothing"})
    _check_size(first, kind, MAX_HELLO_BYTES)
    refuse_unknown_fields(first)
    wrong = Violations()
    hello = first.hello
    name = hello.worker_name
    if not 1 <= len(name) <= 64 or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in name):
        wrong.add("hello.worker_name", "must be 1 to 64 letters, digits, -, _ or .")
    wrong.text("hello.agent", hello.agent, MAX_AGENT_CHARACTERS, one_line=True)
    _capabilities(wrong, "hello.capabilities", hello.capabilities)
    for length in ("megapixel_step", "each_job"):
        if getattr(hello.expected_pace, length).seconds not in range(MAX_PACE_SECONDS):
            wrong.add(f"hello.expected_pace.{length}", f"must be 0 to {MAX_PACE_SECONDS} seconds")
    wrong.within("hello.features", len(hello.features), 0, MAX_FEATURES, " features")
    _raise(wrong)
    return hello


def check_said(request: service_pb2.AttachRequest) -> str:
    """What kind of message it is that a worker says after its hello; empty for one that is newer than this service.

    Raises ProtocolViolation or InvalidWorkerField. Outcomes are not looked into: see `sort_out`.
    """
    kind = request.WhichOneof("message")
    if kind is None and len(UnknownFieldSet(request)):
        return ""
    if kind is None or kind == "hello":
        raise ProtocolViolation(metadata={"got": kind or "nothing"})
    _check_size(request, kind, MAX_MESSAGE_BYTES)
    if kind == "progress":
        if not 0 < len(request.progress.lease_id) <= MAX_ID_CHARACTERS or request.progress.step < 0:
            raise InvalidWorkerField(
                violations=[FieldViolation("progress", "needs a lease_id and a step of 0 or more")]
            )
        return kind
    wrong = Violations()
    if kind == "demand":
        _demand(wrong, "demand", request.demand)
    elif kind == "capabilities":
        _capabilities(wrong, "capabilities", request.capabilities)
    elif kind == "restatement":
        _restatement(wrong, request.restatement)
    _raise(wrong)
    return kind


def sort_out(request: service_pb2.AttachRequest) -> list[scheduler_pb2.InvalidOutcome]:
    """Take the outcomes that break a limit out of a message, so that they end themselves and not the stream.

    An outcome is on the worker's disk and told until it is settled: who hung up on it would lock its worker out.
    """
    if request.WhichOneof("message") == "outcome":
        invalid = [found for found in [_invalid("outcome", request.outcome)] if found is not None]
        if invalid:
            request.Clear()
        return invalid
    outcomes, good, invalid = request.restatement.outcomes, [], []
    for index, outcome in enumerate(outcomes):
        found = _invalid(f"restatement.outcomes[{index}]", outcome)
        if found is None:
            good.append(outcome)
        else:
            invalid.append(found)
    if invalid:
        kept = service_pb2.Restatement(outcomes=good).outcomes
        del outcomes[:]
        outcomes.extend(kept)
    return invalid


def _invalid(root: str, outcome: service_pb2.Outcome) -> scheduler_pb2.InvalidOutcome | None:
    wrong = Violations()
    _outcome(wrong, root, outcome)
    if not wrong.found:
        return None
    answer = scheduler_pb2.InvalidOutcome(lease_id=outcome.lease_id, job_id=outcome.job_id)
    for violation in wrong.found[:MAX_VIOLATIONS]:
        answer.invalid.field_violations.add(field=violation.field, description=violation.description)
    return answer


def names_a_lease(invalid: scheduler_pb2.InvalidOutcome) -> bool:
    """Whether anybody could have a lease of these ids."""
    wrong = Violations()
    _lease_id(wrong, "lease_id", invalid.lease_id)
    wrong.uuid("job_id", invalid.job_id)
    return not wrong.found


def _check_size(request: service_pb2.AttachRequest, kind: str, most: int) -> None:
    size = request.ByteSize()
    if size > most:
        raise InvalidWorkerField(violations=[FieldViolation(kind, f"must be at most {most} bytes, and is {size}")])


def _restatement(wrong: Violations, restatement: service_pb2.Restatement) -> None:
    _demand(wrong, "restatement.demand", restatement.demand)
    wrong.within("restatement.leases", len(restatement.leases), 0, MAX_LEASES, " leases")
    wrong.within("restatement.outcomes", len(restatement.outcomes), 0, MAX_OUTCOMES, " outcomes")
    for index, lease in enumerate(restatement.leases[:MAX_LEASES]):
        _lease_id(wrong, f"restatement.leases[{index}].lease_id", lease.lease_id)


def _demand(wrong: Violations, root: str, demand: service_pb2.Demand) -> None:
    wrong.within(f"{root}.slots", demand.slots, 0, MAX_SLOTS)


def _capabilities(wrong: Violations, root: str, capabilities: worker_pb2.Capabilities) -> None:
    wrong.within(f"{root}.models", len(capabilities.models), 0, MAX_MODELS, " models")
    for index, model in enumerate(capabilities.models[:MAX_MODELS]):
        wrong.name(f"{root}.models[{index}].name", model.name)
        if len(model.sha256) not in (0, 32):
            wrong.add(f"{root}.models[{index}].sha256", "must be 32 bytes, or none")
        if model.WhichOneof("kind") == "image":
            _image_offer(wrong, f"{root}.models[{index}].image", model.image)


def _image_offer(wrong: Violations, root: str, offer: worker_pb2.ImageOffer) -> None:
    wrong.within(f"{root}.max_pixels", offer.max_pixels, 1, MAX_INT63)
    wrong.within(f"{root}.features", len(offer.features), 0, MAX_FEATURES, " features")
    wrong.within(f"{root}.samplers", len(offer.samplers), 0, MAX_SAMPLERS, " samplers")
    wrong.within(f"{root}.schedules", len(offer.schedules), 0, MAX_SAMPLERS, " schedules")
    if offer.size_multiple not in SIZE_MULTIPLES:
        wrong.add(f"{root}.size_multiple", "must be 8, 16, 32 or 64, or 0 for 8")
    wrong.within(f"{root}.max_steps", offer.max_steps, 0, MAX_STEPS)
    wrong.within(f"{root}.max_batch", offer.max_batch, 0, MAX_SLOTS)


def _outcome(wrong: Violations, root: str, outcome: service_pb2.Outcome) -> None:
    _lease_id(wrong, f"{root}.lease_id", outcome.lease_id)
    wrong.uuid(f"{root}.job_id", outcome.job_id)
    kind = outcome.WhichOneof("result")
    if kind is None:
        wrong.add(f"{root}.result", "must be one that is known here")
    elif kind == "painted":
        painted = outcome.painted
        wrong.within(f"{root}.painted.receipt", len(painted.receipt), 1, MAX_RECEIPT_CHARACTERS, " characters")
        wrong.within(f"{root}.painted.deviations", len(painted.deviations), 0, MAX_DEVIATIONS, " deviations")
        for index, deviation in enumerate(painted.deviations[:MAX_DEVIATIONS]):
            for field in ("field", "asked", "done"):
                path = f"{root}.painted.deviations[{index}].{field}"
                wrong.text(path, getattr(deviation, field), MAX_DEVIATION_CHARACTERS)
        _making(wrong, f"{root}.painted.making", painted.making)
    elif kind == "written":
        # No kind of work that is lent here brings text.
        wrong.add(f"{root}.written", "no such work was lent")
    elif kind == "refused":
        wrong.text(f"{root}.refused.detail", outcome.refused.detail, MAX_DETAIL_CHARACTERS)
    elif kind == "failed":
        wrong.text(f"{root}.failed.detail", outcome.failed.detail, MAX_DETAIL_CHARACTERS)
    elif kind == "censored":
        wrong.text(f"{root}.censored.category", outcome.censored.category, MAX_ID_CHARACTERS, one_line=True)


def _making(wrong: Violations, root: str, making: job_pb2.Making) -> None:
    if len(making.model_sha256) not in (0, 32):
        wrong.add(f"{root}.model_sha256", "must be 32 bytes, or none")
    wrong.within(f"{root}.steps", making.steps, 0, MAX_STEPS)
    wrong.real(f"{root}.guidance_scale", making.guidance_scale, 0, MAX_MADE_GUIDANCE)
    wrong.text(f"{root}.engine", making.engine, MAX_AGENT_CHARACTERS, one_line=True)
    wrong.text(f"{root}.precision", making.precision, 32, one_line=True)
    wrong.text(f"{root}.device_class", making.device_class, MAX_ID_CHARACTERS, one_line=True)


def _lease_id(wrong: Violations, field: str, lease_id: str) -> None:
    wrong.within(field, len(lease_id), 1, MAX_ID_CHARACTERS, " characters")


def _raise(wrong: Violations) -> None:
    if wrong.found:
        raise InvalidWorkerField(violations=wrong.found)
