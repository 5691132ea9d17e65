"""A network between processes: the contracts' own bytes, late, lost, twice and in another order, as real ones may be.

Unary calls may be lost before or after they were carried out, or be carried out twice, the second time much later:
what a caller's repeat meets whose first arrives late. A stream keeps its order, and breaks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from faults.injecting import Faults
from faults.virtual import Process, VirtualLoop
from horde.services.errors import Internal, ServiceError, Unavailable
from horde.services.identity import Caller, set_current_caller
from horde.services.status import from_status, to_status

Handler = Any
"""Of gRPC's: one of its four functions is set, with what reads and writes messages."""


class Collected:
    """In place of a gRPC server: takes in what is registered."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Older generated code registers these; the same handlers come by name as well."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Handler]) -> None:
        for name, handler in handlers.items():
            self.handlers[f"/{service}/{name}"] = handler


def away(why: str) -> Unavailable:
    """What a caller meets where nobody knows."""
    error = Unavailable(why)
    error.remote = True
    return error


class Context:
    """What a servicer asks of its call."""

    @staticmethod
    def peer() -> str:
        return "ipv4:192.0.2.1:1"

    @staticmethod
    def invocation_metadata() -> tuple[()]:
        return ()


class Network:
    """Who listens under which name, and how messages get there."""

    def __init__(self, loop: VirtualLoop, faults: Faults) -> None:
        self.loop = loop
        self.faults = faults
        self._listening: dict[str, list[tuple[Process, dict[str, Handler]]]] = {}
        self.cut: set[frozenset[str]] = set()
        """Pairs of names between which nothing passes."""
        self.defects: list[BaseException] = []
        """Errors that a service did not mean to raise."""
        self.messages = 0

    def listen(self, name: str, process: Process, handlers: dict[str, Handler]) -> None:
        """Serve under a name. The newest of those who share it is asked, or any of them (`any_of`)."""
        listening = self._listening.setdefault(name, [])
        entry = (process, handlers)
        listening.append(entry)
        process.at_death.append(lambda: listening.remove(entry))

    def newest(self, name: str) -> tuple[Process, dict[str, Handler]] | None:
        """Who was last to listen under a name."""
        listening = self._listening.get(name)
        return listening[-1] if listening else None

    def any_of(self, prefix: str) -> str | None:
        """The name of one of those who listen under a prefix."""
        names = [name for name, listening in self._listening.items() if listening and name.startswith(prefix)]
        return self.faults.chance.choice(names) if names else None

    def separated(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self.cut

    async def call(self, caller: Process, name: str, path: str, data: bytes) -> bytes:
        """One unary call. Raises ServiceError: what the other side raised, or Unavailable where nobody knows."""
        faults = self.faults
        faults.stop_if_dead()
        self.messages += 1
        await asyncio.sleep(faults.delay())
        there = self.newest(name)
        if there is None or self.separated(caller.name, name) or faults.happens("request lost"):
            await asyncio.sleep(0.01 + 2.0 * faults.chance.random())
            raise away("Nobody answers.")
        process, handlers = there
        if faults.happens("request twice"):
            self.loop.call_later(5.0 * faults.chance.random() ** 2, self._serve_unheard, caller, name, path, data)
        answered: asyncio.Future[bytes] = self.loop.create_future()
        self._serve(process, handlers[path], caller.name, data, answered)
        body = await answered
        await asyncio.sleep(faults.delay())
        faults.stop_if_dead()
        if self.separated(caller.name, name) or faults.happens("answer lost"):
            await asyncio.sleep(2.0 * faults.chance.random())
            raise away("The answer was lost.")
        return body

    def _serve_unheard(self, caller: Process, name: str, path: str, data: bytes) -> None:
        there = self.newest(name)
        if there is not None:
            unheard = self.loop.create_future()
            unheard.add_done_callback(lambda future: future.exception())
            self._serve(there[0], there[1][path], caller.name, data, unheard)

    def _serve(
        self, process: Process, handler: Handler, caller: str, data: bytes, answered: asyncio.Future[bytes]
    ) -> None:
        async def serve() -> None:
            set_current_caller(Caller(caller.partition(" ")[0]))
            try:
                response = await handler.unary_unary(handler.request_deserializer(data), Context)
                body = handler.response_serializer(response)
            except ServiceError as error:
                if isinstance(error, Internal):
                    self.defects.append(error)
                if not answered.done():
                    answered.set_exception(from_status(to_status(error)))
                return
            except asyncio.CancelledError:
                gone()
                raise
            except Exception as error:
                if process.alive:
                    self.defects.append(error)
                gone()
                return
            if not answered.done() and process.alive:
                answered.set_result(body)

        def gone() -> None:
            if not answered.done():
                answered.set_exception(away("It has fallen."))

        task = process.spawn(serve())
        task.add_done_callback(lambda _: gone())

    def open(self, caller: Process, name: str, handler_of: Callable[[dict[str, Handler]], Handler]) -> Stream:
        """Open a stream in both directions."""
        self.faults.stop_if_dead()
        self.messages += 1
        return Stream(self, caller, name, handler_of)


class Pipe:
    """One direction of a stream: in order, each message late by itself."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._last = 0.0
        self._inbox: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._end: ServiceError | None = None
        self.ended = False

    def put(self, data: bytes) -> None:
        """Send one message."""
        self._network.messages += 1
        self._at(lambda: self._arrive(data))

    def end(self, error: ServiceError | None) -> None:
        """Send the end, behind everything."""
        self._at(lambda: self.break_off(error))

    def _at(self, then: Callable[[], None]) -> None:
        loop = self._network.loop
        self._last = max(self._last + 1e-6, loop.time() + self._network.faults.delay())
        loop.call_at(self._last, then)

    def _arrive(self, data: bytes) -> None:
        if not self.ended:
            self._inbox.append(data)
            self._news.set()

    def break_off(self, error: ServiceError | None) -> None:
        """End now; what has not arrived never does."""
        if not self.ended:
            self.ended, self._end = True, error
            self._news.set()

    async def get(self) -> bytes | None:
        """The next message; None at the end. Raises what ended it."""
        while not self._inbox:
            if self.ended:
                if self._end is not None:
                    raise self._end
                return None
            self._news.clear()
            await self._news.wait()
        return self._inbox.popleft()


class Stream:
    """A caller's side of a stream, as gRPC's: write, iterate, cancel."""

    def __init__(
        self, network: Network, caller: Process, name: str, handler_of: Callable[[dict[str, Handler]], Handler]
    ) -> None:
        self._network = network
        self._caller = caller
        self._name = name
        self._up, self._down = Pipe(network), Pipe(network)
        self._task: asyncio.Task[None] | None = None
        self._handler: Handler = None
        there = network.newest(name)
        caller.at_death.append(self._break)
        if there is None or network.separated(caller.name, name):
            self._broken_later(0.01 + network.faults.chance.random())
            return
        self._handler = handler_of(there[1])
        there[0].at_death.append(lambda: self._broken_later(0.5 * network.faults.chance.random()))
        network.loop.call_later(network.faults.delay(), self._begin, there[0])

    def _begin(self, process: Process) -> None:
        if process.alive and not self._up.ended:
            self._task = process.spawn(self._serve(process))

    async def _serve(self, process: Process) -> None:
        set_current_caller(Caller(self._caller.name.partition(" ")[0]))
        handler = self._handler
        error: ServiceError | None = None
        try:
            async for response in await self._answers():
                if not process.alive:
                    return
                if self._network.separated(self._caller.name, self._name):
                    raise away("The stream is broken.")  # Never its end: a connection that was cut off tells no end.
                self._down.put(handler.response_serializer(response))
        except ServiceError as raised:
            error = from_status(to_status(raised))
        except Exception as defect:
            if process.alive:
                self._network.defects.append(defect)
            error = away("It has fallen.")
        if process.alive:
            self._down.end(error)

    async def _answers(self) -> AsyncIterator[Any]:
        handler, requests = self._handler, self._requests()
        if getattr(handler, "unary_stream", None) is None:
            answers: AsyncIterator[Any] = handler.stream_stream(requests, Context)
        else:
            answers = handler.unary_stream(await anext(requests), Context)
        return answers

    async def _requests(self) -> AsyncIterator[Any]:
        while (data := await self._up.get()) is not None:
            yield self._handler.request_deserializer(data)

    async def write(self, request: Any) -> None:
        """Say something. Raises Unavailable once the stream has ended."""
        network = self._network
        network.faults.stop_if_dead()
        if self._down.ended or self._up.ended:
            raise away("The stream has ended.")
        if network.faults.happens("stream broken") or network.separated(self._caller.name, self._name):
            self._break()
            raise away("The stream is broken.")
        self._up.put(request.SerializeToString())

    def ask(self, data: bytes) -> None:
        """Say the one thing there is to say."""
        self._up.put(data)

    async def done_writing(self) -> None:
        """Say that nothing more will be said."""
        self._up.end(None)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._responses()

    async def _responses(self) -> AsyncIterator[Any]:
        while (data := await self._down.get()) is not None:
            self._network.faults.stop_if_dead()
            yield data

    def cancel(self) -> bool:
        """Hang up."""
        self._break()
        return True

    def _broken_later(self, seconds: float) -> None:
        self._network.loop.call_later(seconds, self._break)

    def _break(self) -> None:
        """Both sides learn that it is over; the other one a little later."""
        self._down.break_off(away("The stream is broken."))
        if not self._up.ended:
            self._network.loop.call_later(self._network.faults.delay(), self._end_there)

    def _end_there(self) -> None:
        self._up.break_off(None)
        if self._task is not None:
            self._task.cancel()


class Channel:
    """In place of a gRPC channel of one process to one name; a prefix that ends in `-` means any of those."""

    def __init__(self, network: Network, process: Process, name: str) -> None:
        self._network = network
        self._process = process
        self._name = name

    def _target(self) -> str:
        return (self._network.any_of(self._name) or self._name) if self._name.endswith("-") else self._name

    def unary_unary(
        self, path: str, request_serializer: Any, response_deserializer: Any, **_: Any
    ) -> Callable[[Any], Awaitable[Any]]:
        async def call(request: Any, timeout: float | None = None) -> Any:
            body = await self._network.call(self._process, self._target(), path, request_serializer(request))
            return response_deserializer(body)

        return call

    def stream_stream(
        self, path: str, request_serializer: Any, response_deserializer: Any, **_: Any
    ) -> Callable[[], Any]:
        return lambda: Decoded(
            self._network.open(self._process, self._target(), lambda handlers: handlers[path]), response_deserializer
        )

    def unary_stream(
        self, path: str, request_serializer: Any, response_deserializer: Any, **_: Any
    ) -> Callable[[Any], Any]:
        def call(request: Any) -> Decoded:
            stream = self._network.open(self._process, self._target(), lambda handlers: handlers[path])
            stream.ask(request_serializer(request))
            return Decoded(stream, response_deserializer)

        return call

    def stream_unary(self, path: str, **_: Any) -> None:
        """Nobody needs it here."""


def stub_channel(network: Network, process: Process, name: str) -> Any:
    """A channel as stubs take one."""
    return Channel(network, process, name)


class Decoded:
    """A stream whose responses are messages."""

    def __init__(self, stream: Stream, read: Callable[[bytes], Any]) -> None:
        self._stream = stream
        self._read = read
        self.write, self.cancel, self.done_writing = stream.write, stream.cancel, stream.done_writing

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for data in self._stream:
            yield self._read(data)
