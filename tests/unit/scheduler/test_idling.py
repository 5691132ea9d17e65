"""Why a worker is given nothing: told when that changes, and when it asks; bounded in both."""

from __future__ import annotations

from tests.unit.scheduler.table import Table

from horde.scheduler.core import attaching, idling, returning
from horde.scheduler.core import effects as fx
from horde.scheduler.core.fitting import WhyNot
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.hindrances import Cause, Report


def told(table: Table, worker: Worker) -> list[Report]:
    return [effect.report for effect in table.told(fx.SayIdle, worker)]


def pause(table: Table, worker: Worker, paused: bool) -> None:
    attaching.pause(table.board, worker, paused, table.now, table.now_ms)
    table.work()


def test_a_change_is_told_once_and_not_more_than_once_a_minute() -> None:
    table = Table()
    worker = table.attach(hears_idle=True)
    table.pass_time(100.0)
    pause(table, worker, True)
    pause(table, worker, True)
    assert [[hindrance.reason for hindrance in report.hindrances] for report in told(table, worker)] == [
        [WhyNot.PAUSED]
    ]
    pause(table, worker, False)
    pause(table, worker, True)
    assert len(told(table, worker)) == 1
    table.pass_time(60.0)
    pause(table, worker, False)
    assert told(table, worker)[-1].hindrances == ()


def test_who_does_not_read_it_or_works_is_told_nothing() -> None:
    table = Table()
    deaf = table.attach("deaf")
    pause(table, deaf, True)
    assert told(table, deaf) == []
    worker = table.attach("works", hears_idle=True)
    table.lease(table.queued().jobs[0])
    pause(table, worker, True)
    assert told(table, worker) == []


def test_an_answer_names_what_waits_for_others_and_why_most_frequent_first() -> None:
    table = Table()
    worker = table.attach(hears_idle=True, models=("small",), max_pixels=512 * 512)
    table.queued("r1", images=2, model="small", width=1024, height=1024)
    table.queued("r2", images=3, model="other")
    table.queued("r3", images=1, model="another")
    for _ in range(2):
        idling.asked(table.board, worker, table.now)
    table.work()
    (report,) = told(table, worker)
    assert report.causes == (Cause(WhyNot.MODEL, 4, "other"), Cause(WhyNot.SIZE, 2, "small"))
    assert report.hindrances == ()
    table.pass_time(10.0)
    idling.asked(table.board, worker, table.now)
    table.work()
    assert len(told(table, worker)) == 2


def test_a_model_that_was_given_back_and_a_rest_are_told_with_their_ends() -> None:
    table = Table()
    worker = table.attach(hears_idle=True)
    returning.withhold(table.board, worker, "paintbox", table.now)
    for _ in range(3):
        worker.failed(table.now)
    table.queued(model="paintbox")
    report = idling.report(table.board, worker, table.now)
    assert [(hindrance.reason, hindrance.model, hindrance.ends_in) for hindrance in report.hindrances] == [
        (WhyNot.RESTING, "", 1.0),
        (WhyNot.REFUSED_MODEL, "paintbox", 1.0),
    ]
    assert [cause.reason for cause in report.causes] == [WhyNot.REFUSED_MODEL]


def test_a_new_owner_whose_workers_hold_all_that_they_may_is_told_so() -> None:
    table = Table(proven_images=10, first_slots=1)
    first, second = table.attach("w1"), table.attach("w2")
    table.queued(images=2)
    waiting = second if first.leases else first
    (hindrance,) = idling.report(table.board, waiting, table.now).hindrances
    assert (hindrance.reason, hindrance.detail) == (WhyNot.NO_SLOTS, idling.NEW_OWNER)


def test_terms_grow_with_each_image_that_somebody_else_paid_for() -> None:
    table = Table(proven_images=3, first_slots=1, max_slots=64)
    worker = table.attach()
    assert worker.standing.slots(64) == 1
    for number in range(3):
        table.paint(table.lease(table.queued(f"r{number}").jobs[0]))
        table.run_errands()
    assert len(table.told(fx.SayTerms, worker)) == 3
    assert worker.standing.slots(64) == 64


def test_an_empty_report_says_that_nobody_asks_for_anything() -> None:
    table = Table()
    assert idling.report(table.board, table.attach(), table.now) == Report()
