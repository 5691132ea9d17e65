"""What happens around every call that is served: who may call, how long it may take, what a failure looks like.

Methods are wrapped once, when they are added to a server (`guard`), not intercepted at each call: it costs a few
microseconds where gRPC's own interceptors cost ten times that. A servicer raises ServiceErrors and contains no `try`;
anything else that it raises becomes INTERNAL with no detail, and a traceback in the log.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from horde.services import deadlines, telemetry
from horde.services.addresses import FORWARDED_KEY, Networks, caller_peer, forwarded_peer, set_forwarded
from horde.services.brakes import Brake
from horde.services.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServiceError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from horde.services.identity import (
    NOBODY,
    PUBLIC,
    AllowList,
    BadProof,
    CallerNotAllowed,
    Identity,
    set_current_caller,
)
from horde.services.status import to_abort
from horde.services.unknown_fields import UnknownField, refuse_unknown_fields

log = telemetry.get_logger(__name__)

REQUEST_SECONDS = 20.0
"""How long a call that has been begun may keep its request to itself."""
_THEIR_FAULT = (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unimplemented,
)
"""What a caller is refused for, and would be again."""

Context = Any  # aio.ServicerContext[Any, Any], which is generic for the type checker only
Behaviour = Callable[[Any, Context], Any]


@dataclass(frozen=True, slots=True)
class Gate:
    """What a server checks before a method runs."""

    allow: AllowList
    identity: Identity | None
    least_seconds: float = 0.005
    """A call with less time left than this is refused: its answer would come too late."""
    shaved_seconds: float = 0.01
    """What is kept back from the time left, for the way home."""
    brake: Brake | None = None
    """Holds back what is told to those who are refused again and again."""
    proxies: Networks = ()
    """Whose word about where a call comes from counts."""

    def admit(self, method: str, allowed: Iterable[str], context: Context) -> None:
        """Let a call in, or raise why not."""
        if self.proxies:
            values = [str(value) for key, value in context.invocation_metadata() or () if key == FORWARDED_KEY]
            set_forwarded(forwarded_peer(context.peer(), values, self.proxies) if values else "")
        if self.brake is not None and self.brake.gone(caller_peer(context)):
            raise Unavailable("Not listened to for a while: most of what came from here was refused or broken off.")
        left: float | None = context.time_remaining()
        if left is not None:
            if left < self.least_seconds:
                raise DeadlineExceeded("Hardly any time was left when the call arrived.")
            left = max(left - self.shaved_seconds, self.least_seconds)
        deadlines.begin(left)
        caller = NOBODY
        if self.identity is not None:
            caller = self.identity.identify(context.invocation_metadata() or (), context.auth_context)
        if allowed is not PUBLIC and caller not in allowed:
            raise CallerNotAllowed(metadata={"caller": caller, "method": method})
        set_current_caller(caller)

    def served(self, context: Context) -> None:
        """A call came to a good end."""
        if self.brake is not None:
            self.brake.served(caller_peer(context))

    def broken_off(self, context: Context) -> None:
        """A call's caller did not wait for its answer."""
        if self.brake is not None:
            self.brake.broken_off(caller_peer(context))


async def refuse(method: str, context: Context, error: Exception, brake: Brake | None = None) -> None:
    """End a call with an error, as what it is if it may be told."""
    if isinstance(error, NotImplementedError):
        # What generated servicers raise for a method that nobody wrote.
        error = Unimplemented()
    elif isinstance(error, DecodeError):
        error = InvalidArgument("What was sent is not a message of this method.")
    elif not isinstance(error, ServiceError):
        log.error("call failed", method=method, exc_info=error)
        error = Internal("Something is broken here.")
    elif error.remote and isinstance(error, (BadProof, CallerNotAllowed)):
        # A neighbour refused *us*. Told onwards, it would read as if we had refused our caller.
        log.error("a neighbour refused this service", method=method, exc_info=error)
        error = Internal("Something is broken here.")
    if brake is not None and isinstance(error, _THEIR_FAULT):
        await brake.hold(caller_peer(context))
    try:
        await context.abort(*to_abort(error))
    except aio.AbortError as aborted:
        # gRPC keeps it with the call, and raises it again by itself. With its traceback it would hold the frames here,
        # which hold the call, and all that was read of it: a circle for each refusal, some 100 KB of an upload, that
        # the collector finds only after thousands of them.
        aborted.__traceback__ = aborted.__context__ = None


def guard(
    handler: grpc.RpcMethodHandler[Any, Any], method: str, gate: Gate, allowed: AbstractSet[str]
) -> grpc.RpcMethodHandler[Any, Any]:
    """The same method behind the gate.

    To gRPC every method looks as if its request were a stream: so it is called as soon as a call is begun, whoever
    breaks calls off before their request has come is seen, and a request that never comes is not waited for for ever.
    """
    if allowed == PUBLIC:
        allowed = PUBLIC
    facts: Any = handler
    behaviour: Behaviour = facts.unary_unary or facts.unary_stream or facts.stream_unary or facts.stream_stream
    answers_once = facts.unary_unary or facts.stream_unary
    # Some write their stream of answers themselves.
    run = behaviour if answers_once or inspect.iscoroutinefunction(behaviour) else _written(behaviour)
    deserialize = facts.request_deserializer
    if not facts.request_streaming:
        run, deserialize = _after_request(run), _deferred(deserialize, strict=allowed is PUBLIC)
    make: Any = grpc.stream_unary_rpc_method_handler if answers_once else grpc.stream_stream_rpc_method_handler
    guarded: grpc.RpcMethodHandler[Any, Any] = make(
        _guarded(run, method, gate, allowed), deserialize, facts.response_serializer
    )
    return guarded


def _after_request(behaviour: Behaviour) -> Behaviour:
    """With its request in place of the stream of them."""

    async def run(_: Any, context: Context) -> Any:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                request = await context.read()
        except TimeoutError:
            raise DeadlineExceeded("The request of this call has not come.") from None
        if request is aio.EOF:
            raise InvalidArgument("The call has no request.")
        if isinstance(request, Exception):
            raise request
        return await behaviour(request, context)

    return run


def _written(behaviour: Behaviour) -> Behaviour:
    """Writes what an async generator yields.

    Handed to gRPC as it is, a generator that waits at a `yield` when its call is cut would not be closed then, but
    whenever the garbage collector finds it, and hold what it holds until then.
    """

    async def run(request: Any, context: Context) -> None:
        async with aclosing(behaviour(request, context)) as answers:
            async for answer in answers:
                await context.write(answer)

    return run


def _deferred(deserialize: Callable[[bytes], Any], *, strict: bool) -> Callable[[bytes], Any]:
    """Gives the error instead of raising it: whoever may not call is told that first.

    `strict` refuses fields that are not known here, for what anybody may call. Services tell each other more than an
    older one knows while they are replaced one by one; it ignores that.
    """

    def read(raw: bytes) -> Any:
        try:
            request = deserialize(raw)
            if strict:
                refuse_unknown_fields(request)
        except (DecodeError, UnknownField) as error:
            return error
        return request

    return read


def _guarded(run: Behaviour, method: str, gate: Gate, allowed: AbstractSet[str]) -> Behaviour:
    async def plain(requests: Any, context: Context) -> Any:
        try:
            gate.admit(method, allowed, context)
            answer = await run(requests, context)
            gate.served(context)
            return answer
        except Exception as error:  # noqa: BLE001 - this is where failures end
            await refuse(method, context, error, gate.brake)
        except asyncio.CancelledError:
            gate.broken_off(context)
            raise

    rpc = telemetry.rpc
    if rpc is None:
        return plain

    async def observed(requests: Any, context: Context) -> Any:
        try:
            with rpc.served(method, context.invocation_metadata() or ()):
                gate.admit(method, allowed, context)
                answer = await run(requests, context)
                gate.served(context)
                return answer
        except Exception as error:  # noqa: BLE001
            await refuse(method, context, error, gate.brake)
        except asyncio.CancelledError:
            gate.broken_off(context)
            raise

    return observed


class GuardedMethods(grpc.GenericRpcHandler):
    """Stands in for the server while a generated `add_…_to_server` runs, guards what it adds, and is where the server
    looks methods up, once for all: gRPC's own way waits for each method apart, so that a call costs with the number of
    them (with 80 methods a fifth of all that an empty call costs).
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._unknown = guard(_UNKNOWN, "an unknown method", gate, PUBLIC)

    @property
    def methods(self) -> AbstractSet[str]:
        """The full names of all methods that were added."""
        return self._handlers.keys()

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Nothing: the generated code says everything twice, and the other way names its methods."""

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Guard each method and add it."""
        for name, handler in handlers.items():
            method = f"/{service}/{name}"
            self._handlers[method] = guard(handler, method, self._gate, self._gate.allow.allowed(method))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """The method that is called; of one that there is not, a refusal that is counted like others."""
        return self._handlers.get(handler_call_details.method, self._unknown)


async def _unknown(requests: Any, context: Context) -> NoReturn:
    raise Unimplemented("There is no such method here.")


_UNKNOWN: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(_unknown)


Farewell = Callable[[], Awaitable[None]]
