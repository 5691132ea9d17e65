"""One worker's stream, as this side holds it: who it is, and what it is still to be told."""

from __future__ import annotations

from horde.api.worker.v1 import worker_service_pb2 as service_pb2
from horde.gateway.core.errors import Overloaded
from horde.gateway.core.requesters import Principal
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

    def __init__(self, number: int, principal: Principal, hello: service_pb2.Hello) -> None:
        self.number = number
        self.account_id = principal.account_id
        self.api_key_id = principal.api_key_id
        self.worker = f"{principal.account_id}/{hello.worker_name}"
        self.hello = hello
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

    def end(self, error: Exception | None = None) -> None:
        """Hang up, with an error or politely."""
        self.outbox.close(error)

    def opened(self) -> Says:
        opened = scheduler_pb2.SessionOpened(
            owner_account_id=self.account_id, hello=self.hello, session_id=self.session_id
        )
        return Says(relay_session_id=self.number, opened=opened)
