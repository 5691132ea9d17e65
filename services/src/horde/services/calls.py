"""Calls to a neighbour, as one channel makes them: our proof goes along, our errors come out, the trace goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from horde.services import deadlines, telemetry
from horde.services.errors import (
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    Internal,
    ResourceExhausted,
    ServiceError,
    Unavailable,
    Unimplemented,
    Unknown,
)
from horde.services.identity import BadProof, CallerNotAllowed
from horde.services.neighbours import Watch
from horde.services.status import KINDS, from_rpc_error

FAILURES = (Unavailable, Internal, Unknown, DataLoss, Unimplemented, ResourceExhausted)
"""What a neighbour that fails answers; a full one does not do what it is asked either."""
REFUSES_US = frozenset({BadProof.reason, CallerNotAllowed.reason})
PATIENT_SECONDS = 1.0
"""A call that was given less may have run out of time without the neighbour's fault."""

Headers = tuple[tuple[str, str | bytes], ...]
Errors = tuple[type[ServiceError], ...]


@dataclass(slots=True)
class Manner:
    """How the calls of one channel are made."""

    headers: Headers = ()
    errors: Errors = ()
    timeout: float | None = None
    wait_for_ready: bool | None = None
    watch: Watch | None = None
    explain: Callable[[], object] | None = None
    """Says in the log why no connection comes about; called where a line says that the neighbour cannot be reached."""

    def answered(self) -> None:
        """The neighbour did what it was asked."""
        if self.watch is not None:
            self.watch.answered()

    def error_of(self, error: aio.AioRpcError | DecodeError, seconds: float | None = None) -> ServiceError:
        """What a call that was given so many seconds failed with, told to who watches the neighbour."""
        if isinstance(error, DecodeError):
            failure: ServiceError = Internal("What came is not a message of this method.")
        else:
            failure = from_rpc_error(error, self.errors)
        if self.watch is not None:
            if _is_failing(failure, seconds):
                notice = self.watch.failed(f"{failure.reason or type(failure).__name__}: {failure.message}")
                if notice and self.explain is not None and isinstance(failure, Unavailable):
                    self.explain()
            elif not isinstance(failure, (Cancelled, DeadlineExceeded)):
                self.watch.answered()
        return failure

    def sent_headers(self, given: Headers | None, observed: telemetry.ObservedCall | None) -> Headers:
        """What goes with a call: our proof, the caller's own headers, the trace."""
        headers: Headers = (*self.headers, *given) if given else self.headers
        return headers if observed is None else (*headers, (telemetry.TRACEPARENT, observed.traceparent))

    def time_for(self, given: float | None, default: float | None) -> float | None:
        """How long a call may take; raises if there is nothing left to take."""
        timeout = default if given is None else given
        left = deadlines.remaining()
        if left is None:
            return timeout
        if left <= 0:
            raise DeadlineExceeded("No time is left for a further call.")
        return left if timeout is None else min(timeout, left)


def _is_failing(error: ServiceError, seconds: float | None) -> bool:
    """Whether an error says that the neighbour fails, and not that it refuses, or that somebody was in a hurry."""
    if isinstance(error, DeadlineExceeded):
        return seconds is None or seconds >= PATIENT_SECONDS
    return isinstance(error, FAILURES) or error.reason in REFUSES_US


class _Answer:
    """A call with one answer, on its way."""

    __slots__ = ("_call", "_manner", "_observed", "_seconds")

    def __init__(
        self, call: Any, manner: Manner, seconds: float | None, observed: telemetry.ObservedCall | None
    ) -> None:
        self._call = call
        self._manner = manner
        self._seconds = seconds
        self._observed = observed

    def __await__(self) -> Generator[Any, None, Any]:
        if self._observed is not None:
            return self._finishing(self._observed)
        return self._plain()

    def _plain(self) -> Generator[Any, None, Any]:
        try:
            answer = yield from self._call.__await__()
        except (aio.AioRpcError, DecodeError) as error:
            raise self._manner.error_of(error, self._seconds) from None
        self._manner.answered()
        return answer

    def _finishing(self, observed: telemetry.ObservedCall) -> Generator[Any, None, Any]:
        error: BaseException | None = None
        try:
            return (yield from self._plain())
        except BaseException as caught:
            error = caught
            raise
        finally:
            observed.finish(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _Stream:
    """A call with a stream in at least one direction."""

    def __init__(self, call: Any, manner: Manner, observed: telemetry.ObservedCall | None) -> None:
        self._call = call
        self._manner = manner
        if observed is not None:
            call.add_done_callback(lambda _: asyncio.ensure_future(self._finish(observed)))

    async def _finish(self, observed: telemetry.ObservedCall) -> None:
        code = await self._call.code()
        observed.finish(None if code is grpc.StatusCode.OK else KINDS[code.value[0]]())

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._answers()

    async def _answers(self) -> AsyncIterator[Any]:
        try:
            async for answer in self._call:
                self._manner.answered()
                yield answer
        except (aio.AioRpcError, DecodeError) as error:
            raise self._manner.error_of(error) from None

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            answer = yield from self._call.__await__()
        except (aio.AioRpcError, DecodeError) as error:
            raise self._manner.error_of(error) from None
        self._manner.answered()
        return answer

    async def read(self) -> Any:
        """The next answer, or `aio.EOF` at the end."""
        try:
            answer = await self._call.read()
        except (aio.AioRpcError, DecodeError) as error:
            raise self._manner.error_of(error) from None
        self._manner.answered()
        return answer

    async def write(self, request: Any) -> None:
        """Send one message; raises what ended the call if it has ended."""
        try:
            await self._call.write(request)
        except aio.AioRpcError as error:
            raise self._manner.error_of(error) from None
        except asyncio.InvalidStateError:
            await self._raise_end()

    async def done_writing(self) -> None:
        """Close our direction; raises what ended the call if it ended badly."""
        try:
            await self._call.done_writing()
        except aio.AioRpcError as error:
            raise self._manner.error_of(error) from None

    async def _raise_end(self) -> NoReturn:
        code = await self._call.code()
        if code is grpc.StatusCode.OK:
            raise Cancelled("The other side has ended the stream.")
        details, trailers = await self._call.details(), await self._call.trailing_metadata()
        raise self._manner.error_of(aio.AioRpcError(code, aio.Metadata(), trailers, details))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class Unary:
    """A method with one question and one answer."""

    __slots__ = ("_callable", "_manner", "_method")

    def __init__(self, multicallable: Any, method: str, manner: Manner) -> None:
        self._callable = multicallable
        self._method = method
        self._manner = manner

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Headers | None = None,
        wait_for_ready: bool | None = None,
        **rest: Any,
    ) -> _Answer:
        manner = self._manner
        seconds = manner.time_for(timeout, manner.timeout)
        observed = None if telemetry.rpc is None else telemetry.rpc.made(self._method)
        call = self._callable(
            request,
            timeout=seconds,
            metadata=manner.sent_headers(metadata, observed),
            wait_for_ready=manner.wait_for_ready if wait_for_ready is None else wait_for_ready,
            **rest,
        )
        return _Answer(call, manner, seconds, observed)


class Streaming:
    """A method with a stream in at least one direction."""

    __slots__ = ("_callable", "_manner", "_method")

    def __init__(self, multicallable: Any, method: str, manner: Manner) -> None:
        self._callable = multicallable
        self._method = method
        self._manner = manner

    def __call__(
        self,
        request: Any = None,
        *,
        timeout: float | None = None,
        metadata: Headers | None = None,
        wait_for_ready: bool | None = None,
        **rest: Any,
    ) -> _Stream:
        manner = self._manner
        seconds = manner.time_for(timeout, None)
        observed = None if telemetry.rpc is None else telemetry.rpc.made(self._method)
        call = self._callable(
            request,
            timeout=seconds,
            metadata=manner.sent_headers(metadata, observed),
            wait_for_ready=manner.wait_for_ready if wait_for_ready is None else wait_for_ready,
            **rest,
        )
        return _Stream(call, manner, observed)
