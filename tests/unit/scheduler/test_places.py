"""The queue is everybody's: whoever stuffs it leaves places to others, and what nobody can paint has few."""

from __future__ import annotations

from hashlib import sha256
from itertools import count
from typing import Any

from tests.unit.scheduler.table import ANNA, BERT, Table

from horde.internal.ledger.v1 import ledger_service_pb2 as ledger
from horde.scheduler.core import effects as fx
from horde.scheduler.core.errors import QueueFull, TooManyGenerations
from horde.scheduler.neighbours.ledger import address_digest, fill_event

FEW: dict[str, Any] = {"max_jobs": 2_000, "max_unpaintable": 400, "max_unpaintable_mkudos": 10**9}


def stuff(table: Table, **of: Any) -> int:
    """Submit generations of 20 jobs until one is refused; how many jobs were taken."""
    for number in count():
        try:
            table.submit(f"stuffed{number}", 20, **of)
        except (QueueFull, TooManyGenerations):
            return number * 20
    raise AssertionError


def test_one_account_that_stuffs_the_queue_with_what_nobody_has_leaves_it_to_others() -> None:
    table = Table(**FEW)
    table.attach("w1")
    assert 20 <= stuff(table, model="nobody has it") <= 40
    table.submit("another's wish for it", 20, account=BERT, model="nobody has it")
    assert table.board.live_jobs <= 60
    table.submit("hers can be painted", 20)


def test_one_account_takes_a_share_of_the_queue_and_the_next_one_still_finds_places() -> None:
    table = Table(**FEW)
    table.attach("w1")
    assert 300 <= stuff(table) <= 500
    assert stuff(table, account=BERT) >= 200


def test_tokens_and_addresses_without_number_leave_places_to_accounts() -> None:
    table = Table(**FEW)
    table.attach("w1")
    for number in range(60):
        flow, digest = f"anonymous/10.0.{number}.0/24", sha256(bytes([number])).digest()
        stuff(table, account="anonymous", digest=digest, flow=flow)
    table.submit("hers", 20)
    table.submit("his", 20, account=BERT)


def test_what_nobody_can_paint_holds_next_to_nothing_of_the_anonymous_budget() -> None:
    table = Table(max_unpaintable=10_000, max_unpaintable_mkudos=400_000)
    table.attach("w1")
    for number in range(3):
        who = {"account": "anonymous", "digest": sha256(bytes([number])).digest(), "flow": "anonymous/192.0.2.0/24"}
        stuff(table, model="nobody has it", **who)
    assert table.board.places.held.used < 400_000
    table.submit("paintable", 20, account="anonymous", digest=sha256(b"late").digest(), flow="anonymous/192.0.2.0/24")


def test_places_are_given_back_when_jobs_end_and_counted_again_after_a_restart() -> None:
    table = Table(**FEW)
    generation = table.queued(images=3, model="nobody has it")
    assert (table.board.places.jobs.used, table.board.places.unpaintable.used) == (3, 3)
    table.start()
    assert table.board.places.jobs.used == 3
    again = table.board.generations[generation.generation_id]
    table.cancel(again)
    table.save()
    table.run_errands()
    assert (table.board.places.jobs.used, table.board.places.unpaintable.used) == (0, 0)


def test_the_ledger_hears_where_a_registered_request_came_from() -> None:
    """Else the floor subsidy's shares by address have no address to go by."""
    table = Table()
    generation = table.submit(account=ANNA)
    assert address_digest(generation) == b""
    generation.address_bucket = "192.0.2.0/24"
    event = ledger.Event()
    fill_event(event, fx.PlaceHolds(generation))
    day = generation.accepted_at_ms // 86_400_000
    assert event.place_holds.address_digest == sha256(f"{day} 192.0.2.0/24".encode()).digest()[:2]
