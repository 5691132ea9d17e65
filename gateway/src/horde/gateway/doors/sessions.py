"""Workers' streams, as this side holds them: who each is, what it is still to be told, and that each has a seat."""

from __future__ import annotations

from collections.abc import Iterator

from horde.api.worker.v1 import worker_service_pb2 as service_pb2
from horde.gateway.core import seats
from horde.gateway.core.errors import Overloaded, SessionSuperseded
from horde.gateway.core.requesters import Principal
from horde.gateway.core.restrictions import worker_id_of
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.errors import ResourceExhausted
from horde.services.shares import Taker
from horde.services.streams import Outbox, OutboxClosed

Says = scheduler_pb2.SessionRequest
Hears = service_pb2.AttachResponse

MAX_OUTBOX = 1_000
"""Messages that wait for one worker; then it is hung up."""


class Session:
    """One worker's stream."""

    def __init__(self, number: int, principal: Principal, hello: service_pb2.Hello, peer: str = "") -> None:
        self.number = number
        self.peer = peer
        self.account_id = principal.account_id
        self.api_key_id = principal.api_key_id
        self.worker = f"{principal.account_id}/{hello.worker_name}"
        self.worker_id = worker_id_of(principal.account_id, hello.worker_name)
        self.hello = hello
        self.paused = False
        """By a restriction: the scheduler hears of no free slots."""
        self.demand = service_pb2.Demand()
        """What the worker asked for last."""
        self.session_id = ""
        self.seat: Taker | None = None
        """Whose seat it has; None once a newer session of the worker has it."""
        self.outbox: Outbox[Hears] = Outbox(MAX_OUTBOX)
        self.said_goodbye = False
        self.restating = 0
        """The epoch of the resync that the worker has not answered; the answer will cover what it says before."""

    def say(self, message: Hears) -> None:
        """Tell the worker something; one who does not read is hung up."""
        try:
            self.outbox.put_nowait(message)
        except OutboxClosed:
            return
        except ResourceExhausted:
            self.end(Overloaded.by("unread messages", "The worker does not read what it is told."))

    def wish(self, lease_id: str, wanted: bool) -> None:
        """Ask the worker for previews, or for none."""
        self.say(Hears(preview_wish=service_pb2.PreviewWish(lease_id=lease_id, wanted=wanted)))

    def withhold(self, request: service_pb2.AttachRequest) -> None:
        """Remember what the worker asks for, and ask for nothing while it is paused by a restriction."""
        kind = request.WhichOneof("message")
        if kind not in ("demand", "restatement"):
            return
        demand = request.demand if kind == "demand" else request.restatement.demand
        self.demand.CopyFrom(demand)
        if self.paused:
            demand.slots = 0

    def end(self, error: Exception | None = None) -> None:
        """Hang up, with an error or politely."""
        self.outbox.close(error)

    def opened(self) -> Says:
        opened = scheduler_pb2.SessionOpened(
            owner_account_id=self.account_id, hello=self.hello, session_id=self.session_id
        )
        return Says(relay_session_id=self.number, opened=opened)


class Sessions:
    """All that are attached here, by numbers that are never used again."""

    def __init__(self, capacity: int) -> None:
        self._seats = seats.session_seats(capacity)
        self._by_number: dict[int, Session] = {}
        self._of_worker: dict[str, Session] = {}
        """The newest of each."""
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._by_number.values())

    def get(self, number: int) -> Session | None:
        """The session of this number, if it is here."""
        return self._by_number.get(number)

    def open(self, principal: Principal, hello: service_pb2.Hello, taker: Taker, peer: str) -> Session:
        """One more, on a seat that this one takes. Raises TooManySessions."""
        session = Session(self._last_number + 1, principal, hello, peer)
        self._sit(session, taker)
        self._last_number += 1
        self._by_number[session.number] = self._of_worker[session.worker] = session
        return session

    def close(self, session: Session) -> None:
        """It is over."""
        session.end()
        del self._by_number[session.number]
        if self._of_worker.get(session.worker) is session:
            del self._of_worker[session.worker]
        if session.seat is not None:
            self._seats.give_back(session.seat)

    def _sit(self, session: Session, taker: Taker) -> None:
        """Take a seat. A worker that comes back, perhaps before its old stream is known to be dead, has its seat."""
        older = self._of_worker.get(session.worker)
        if older is not None and older.seat is not None:
            session.seat, older.seat = older.seat, None
            older.end(SessionSuperseded(metadata={"worker_name": session.hello.worker_name}))
            return
        if self._seats.held(("owner", session.account_id)) >= seats.MAX_SESSIONS_OF_ONE:
            raise seats.too_many_of_one()
        self._seats.take(taker)
        session.seat = taker


def is_progress(says: Says) -> bool:
    """Whether a worker says how far it is, and nothing else."""
    return says.HasField("worker") and says.worker.HasField("progress")


def only_last_progress(batch: list[Says]) -> list[Says]:
    """A batch without progress that a later message of the same lease makes old."""
    if len(batch) == 1:
        return batch
    seen: set[str] = set()
    kept = []
    for says in reversed(batch):
        if is_progress(says):
            lease_id = says.worker.progress.lease_id
            if lease_id in seen:
                continue
            seen.add(lease_id)
        kept.append(says)
    kept.reverse()
    return kept
