"""Sessions: fenced by newer ones, restated, adrift, back in time or too late; and what a restart finds."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.scheduler.table import ANNA, OWNER, Table, capable, painted, state, states

from horde.scheduler.core import attaching
from horde.scheduler.core import effects as fx
from horde.scheduler.core.fleet import Capabilities
from horde.scheduler.core.job import Ending, JobState, LeaseId
from horde.scheduler.core.leases import LeaseState, Revoked, make_id
from horde.scheduler.core.outcomes import Failed
from horde.scheduler.core.sessions import Route


def test_nothing_is_lent_before_the_restatement() -> None:
    table = Table()
    worker = table.attach("w1", restate=False)
    (job,) = table.queued().jobs
    assert state(job) is JobState.QUEUED
    table.restate(worker)
    assert state(job) is JobState.LEASED


def test_a_newer_session_fences_the_older() -> None:
    table = Table()
    worker = table.attach("w1")
    assert worker.session is not None
    old = worker.session
    table.attach("w1", restate=False)
    assert old.route is not None
    assert (old.route, fx.EndSession(old.route, "SESSION_SUPERSEDED", "w1")) in table.said
    assert old.route not in table.board.sessions
    # The older one, by another way: it stays out.
    route = Route(2, 99)
    attaching.opened(table.board, route, OWNER, "w1", "", capable(), old.session_id, table.now, table.now_ms)
    table.work()
    assert table.said[-1] == (route, fx.EndSession(route, "SESSION_SUPERSEDED", "w1"))


def test_what_is_not_restated_is_lent_to_somebody_else() -> None:
    table = Table()
    table.attach("w1", slots=2)
    generation = table.queued(images=2)
    kept, lost = (table.lease(job) for job in generation.jobs)
    del table.held[lost.lease_id]
    table.attach("w1", slots=2)
    assert state(kept) is LeaseState.OPEN
    assert state(lost) is LeaseState.LAPSED
    assert states(generation) == [JobState.LEASED, JobState.QUEUED]


def test_a_second_restatement_on_the_way_while_a_job_is_lent_does_not_take_it_back() -> None:
    table = Table()
    worker = table.attach("w1")
    (job,) = table.queued().jobs
    lease = table.lease(job)
    # A relay that broke twice asks twice; the second answer was on its way before the assignment came.
    held, table.held = table.held, {}
    table.restate(worker)
    assert state(lease) is LeaseState.OPEN
    assert job.failed_owners == {}
    table.held = held
    # On a new stream it says everything again: there nothing is under way.
    del table.held[lease.lease_id]
    table.attach("w1")
    assert state(lease) is LeaseState.LAPSED


def test_leases_wait_a_grace_for_a_broken_stream() -> None:
    table = Table(resume_grace=20.0)
    worker = table.attach("w1")
    (job,) = table.queued().jobs
    lease = table.lease(job)
    table.vanish(worker)
    table.pass_time(19.0)
    assert state(lease) is LeaseState.OPEN
    table.attach("w1")
    table.pass_time(19.0)
    assert state(lease) is LeaseState.OPEN
    table.vanish(worker)
    table.pass_time(21.0)
    assert state(lease) is LeaseState.LAPSED
    assert state(job) is JobState.QUEUED
    assert worker.session is None


def test_a_lapsed_lease_goes_on_if_nobody_took_its_job() -> None:
    table = Table()
    worker = table.attach("w1")
    (job,) = table.queued().jobs
    lease = table.lease(job)
    table.vanish(worker)
    table.pass_time(21.0)
    table.held[lease.lease_id] = (worker.worker_id, job.job_id)
    table.attach("w1")
    assert state(lease) is LeaseState.OPEN
    assert table.lease(job) is lease
    assert len(job.leases) == 1


def test_a_lapsed_lease_is_revoked_if_somebody_took_its_job() -> None:
    table = Table()
    worker = table.attach("w1")
    (job,) = table.queued().jobs
    lease = table.lease(job)
    table.vanish(worker)
    table.pass_time(21.0)
    table.attach("w2")
    table.held[lease.lease_id] = (worker.worker_id, job.job_id)
    table.attach("w1")
    assert table.told(fx.Revoke, worker)[-1] == fx.Revoke(worker.session.route, lease.lease_id, Revoked.LAPSED)  # type: ignore[union-attr,arg-type]


def test_a_lease_that_nobody_knows_is_revoked() -> None:
    table = Table()
    worker = table.attach("w1", slots=0)
    (job,) = table.queued().jobs
    table.held[LeaseId(make_id(table.board.epoch, 0, 77))] = (worker.worker_id, job.job_id)
    table.restate(worker, 0)
    assert table.told(fx.Revoke, worker)[-1].reason is Revoked.UNKNOWN


def test_after_a_restart_leases_wait_for_their_workers() -> None:
    table = Table()
    table.attach("w1")
    table.attach("w2")
    generation = table.queued(images=2)
    table.save()
    table.start()
    first, second = table.board.generations[generation.generation_id].jobs
    table.attach("w1")
    table.pass_time(21.0)
    by_worker = {table.board.fleet.workers[job.leases[0].worker_id].name: job for job in (first, second)}
    assert state(by_worker["w1"].leases[0]) is LeaseState.OPEN
    assert state(by_worker["w2"].leases[0]) is LeaseState.LAPSED


def test_after_a_restart_a_lease_whose_row_was_lost_goes_on() -> None:
    table = Table()
    generation = table.submit()
    table.save()
    table.run_errands()
    worker = table.attach("w1")
    lease = table.lease(generation.jobs[0])
    # Lent, but not written: the crash takes it.
    table.start()
    (job,) = table.board.generations[generation.generation_id].jobs
    assert (job.state, job.leases) == (JobState.QUEUED, [])
    worker = table.attach("w1")
    assert table.lease(job).lease_id == lease.lease_id
    table.paint(table.lease(job))
    table.run_errands()
    assert job.ending is Ending.DONE
    assert table.told(fx.SaySettled, worker)[-1].disposition == fx.ACCEPTED


def test_a_receipt_proves_a_lease_whose_row_was_lost() -> None:
    table = Table()
    generation = table.queued()
    worker = table.attach("w1")
    lease = table.lease(generation.jobs[0])
    table.held.clear()
    table.start()
    worker = table.attach("w1", slots=0)
    (job,) = table.board.generations[generation.generation_id].jobs
    table.report(worker, lease.lease_id, job.job_id, Failed())
    assert table.told(fx.SaySettled, worker)[-1].disposition == fx.UNKNOWN_JOB
    table.report(worker, lease.lease_id, job.job_id, painted(worker))
    table.run_errands()
    assert job.ending is Ending.DONE
    assert table.told(fx.SaySettled, worker)[-1].disposition == fx.ACCEPTED


def test_an_outcome_waits_while_the_accepting_is_repeated() -> None:
    table = Table()
    generation = table.submit()
    table.save()
    worker = table.attach("w1")
    table.run_errand(0)
    lease = table.lease(generation.jobs[0])
    # Neither QUEUED nor LEASED was written.
    table.start()
    (job,) = table.board.generations[generation.generation_id].jobs
    assert state(job) is JobState.ACCEPTING
    worker = table.attach("w1", slots=0)
    table.report(worker, lease.lease_id, job.job_id, painted(worker))
    table.run_errands()
    assert job.ending is Ending.DONE
    assert job.winner is not None
    assert job.winner.lease_id == lease.lease_id


def test_a_paused_or_draining_worker_keeps_what_it_has_and_gets_no_more() -> None:
    table = Table()
    worker = table.attach("w1", slots=1)
    generation = table.queued(images=2)
    attaching.pause(table.board, worker, True, table.now, table.now_ms)
    table.paint(table.lease(generation.jobs[0]))
    table.run_errands()
    assert generation.jobs[0].ending is Ending.DONE
    assert state(generation.jobs[1]) is JobState.QUEUED
    attaching.pause(table.board, worker, False, table.now, table.now_ms)
    table.work()
    assert state(generation.jobs[1]) is JobState.LEASED


def test_the_number_of_sessions_is_bounded() -> None:
    table = Table(max_sessions=1)
    table.attach("w1")
    route = Route(1, 500)
    attaching.opened(table.board, route, OWNER, "w2", "", capable(), "", table.now, table.now_ms)
    table.work()
    assert table.said[-1] == (route, fx.EndSession(route, "TOO_MANY_SESSIONS", "1"))


def test_a_known_worker_is_never_refused_and_who_was_away_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "MAX_WORKERS", 3)
    monkeypatch.setattr(attaching, "FORGOTTEN_AT_ONCE", 1)
    table = Table()
    painter, idle, here = (table.attach(name) for name in ("painter", "idle", "here"))
    painter.images_done = 1
    for worker in (painter, idle):
        table.vanish(worker)
        table.pass_time(100.0)
    known = table.attach("painter")
    assert known is painter
    table.vanish(painter)
    new = table.attach("new")
    assert set(table.board.fleet.workers.values()) == {painter, here, new}
    newer = table.attach("newer")
    assert set(table.board.fleet.workers.values()) == {newer, here, new}
    route = Route(2, 99)
    attaching.opened(table.board, route, OWNER, "one too many", "", capable(), "", table.now, table.now_ms)
    table.work()
    assert [effect for to, effect in table.said if to == route and isinstance(effect, fx.EndSession)]
    assert set(table.board.fleet.workers.values()) == {newer, here, new}


def test_one_owner_fills_only_his_own_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "MAX_WORKERS_OF_ONE", 2)
    table = Table()
    theirs = Route(3, 1)
    attaching.opened(table.board, theirs, ANNA, "theirs", "", capable(), "", table.now, table.now_ms)
    attaching.closed(table.board, theirs, table.now, table.now_ms)
    table.work()
    for number in range(5):
        worker = table.attach(f"w{number}")
        table.vanish(worker)
        table.pass_time(1.0)
    assert sorted(worker.name for worker in table.board.fleet.workers.values()) == ["theirs", "w3", "w4"]
    assert [table.board.fleet.owned(owner) for owner in (ANNA, OWNER)] == [1, 2]


@pytest.mark.parametrize("hindrance", ["denied", "model", "slots"])
def test_a_lease_that_nobody_remembers_is_believed_only_of_a_worker_that_may_have_it(hindrance: str) -> None:
    table = Table()
    worker = table.attach("w1", slots=0)
    ways: dict[str, dict[str, Any]] = {
        "denied": {"denied": frozenset({worker.worker_id})},
        "model": {"model": "other"},
        "slots": {},
    }
    generation = table.queued(**ways[hindrance])
    table.start()
    table.held[LeaseId(make_id(table.board.epoch - 1, 0, 77))] = (worker.worker_id, generation.jobs[0].job_id)
    worker = table.attach("w1", slots=0 if hindrance == "slots" else 1)
    (job,) = table.board.generations[generation.generation_id].jobs
    assert (job.state, job.leases) == (JobState.QUEUED, [])
    assert table.told(fx.Revoke, worker)[-1].reason is Revoked.UNKNOWN


def test_who_says_again_and_again_what_it_can_do_is_read_once_a_second_and_by_its_last_word() -> None:
    table = Table()
    worker = table.attach("flapping", models=("m",))
    read = 0

    def say(*models: str) -> None:
        def capabilities() -> Capabilities:
            nonlocal read
            read += 1
            return capable(models=models)

        attaching.capable(table.board, worker, capabilities, table.now)
        table.work()

    for _ in range(500):
        say("m")
        say("n")
    say("n", "o")
    assert read == 1
    assert len(table.board.deadlines) < 10, "it is looked at once, however often it was said"
    assert set(worker.capabilities.offers) == {"m"}
    table.pass_time(attaching.CAPABLE_PAUSE)
    assert read == 2
    assert set(worker.capabilities.offers) == {"n", "o"}
    (job,) = table.queued("r", model="o").jobs
    assert table.painter(job) == "flapping"


def test_a_new_session_is_believed_before_what_the_old_one_said_last() -> None:
    table = Table()
    worker = table.attach("w", models=("m",))
    for model in ("n", "o"):
        attaching.capable(table.board, worker, lambda model=model: capable(models=(model,)), table.now)  # type: ignore[misc]
    table.attach("w", models=("p",))
    table.pass_time(2 * attaching.CAPABLE_PAUSE)
    assert set(worker.capabilities.offers) == {"p"}
