"""Pictures that are painted a second time: junk is caught, nobody honest is punished, and no field tells a check."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID, uuid5

import pytest
from tests.unit.scheduler.table import ANNA, OWNER, PRICE, Table, at_once, capable

from horde.scheduler.core import effects as fx
from horde.scheduler.core import uptime
from horde.scheduler.core.checks import MAX_OPEN_OF_ONE
from horde.scheduler.core.fleet import Capabilities, Offer, Worker
from horde.scheduler.core.job import MESH, AccountId, Ending, Job, JobState
from horde.scheduler.core.judging import SHARED
from horde.scheduler.core.leases import Fault, Lease
from horde.scheduler.core.outcomes import Failed, Painted
from horde.scheduler.core.standing import FIRST_LOOKS

PROVEN = 10
TRUTH = "what the prompt asks for"


def stranger(number: int) -> AccountId:
    return AccountId(str(uuid5(UUID(int=0), f"stranger {number}")))


def trusted(table: Table, name: str, number: int, slots: int = 4, **of: Any) -> Worker:
    """A worker of an owner whose images others paid for, and whose own were looked at."""
    worker = table.attach(name, slots=slots, owner=stranger(1000 + number), **of)
    for _ in range(PROVEN):
        table.board.fleet.image_paid(worker)
    worker.standing.verified = 1000
    table.work()
    return worker


def table_of(checkers: int = 3, **limits: Any) -> Table:
    """A mesh with some trusted owners, away for now: what is asked for goes to whom a test attaches."""
    table = Table(**{"proven_images": PROVEN, "checks_part": 1.0, "resume_grace": 1.0, **limits})
    for number in range(checkers):
        trusted(table, f"t{number}", number)
    return table


def ask(table: Table, worker: Worker, request: str, **of: Any) -> Job:
    """A job for this worker alone."""
    (job,) = table.queued(request, allowed=frozenset({worker.worker_id}), **of).jobs
    return job


def painted(table: Table, job: Job, picture: Any = TRUTH, result: Painted | None = None) -> None:
    lease = table.lease(job)
    if result is None:
        table.paint(lease, picture)
    else:
        table.pictures[lease.lease_id] = picture
        table.report(table.board.fleet.workers[lease.worker_id], lease.lease_id, job.job_id, result)
    table.run_errands()


def checks(table: Table) -> list[Job]:
    """Check jobs that are lent."""
    return [
        job
        for generation in table.board.generations.values()
        if generation.check is not None
        for job in generation.jobs
        if job.state is JobState.LEASED
    ]


def look(table: Table, picture: Any = TRUTH) -> list[Lease]:
    """All checks that are lent are painted; who painted them."""
    leases = [table.lease(job) for job in checks(table)]
    for lease in leases:
        table.paint(lease, picture)
    table.run_errands()
    return leases


def all_checked(table: Table, picture: Any = TRUTH) -> list[Lease]:
    """The same, until no check is left."""
    done: list[Lease] = []
    while found := look(table, picture):
        done += found
    return done


def suspects_record(worker: Worker) -> tuple[int, int, float]:
    standing = worker.standing
    return standing.verified, standing.caught, standing.doubt


def test_a_new_owners_first_pictures_are_all_painted_a_second_time_by_somebody_else_who_is_trusted() -> None:
    table = table_of()
    suspect = table.attach("new", owner=OWNER)
    for number in range(FIRST_LOOKS):
        job = ask(table, suspect, f"r{number}")
        painted(table, job)
        assert job.ending is Ending.DONE
        (lease,) = look(table)
        checker = table.board.fleet.workers[lease.worker_id]
        assert checker.standing.checker
        assert checker.owner != suspect.owner
    assert suspects_record(suspect) == (FIRST_LOOKS, 0, 0.0)
    assert suspect.standing.paid_images == FIRST_LOOKS
    assert [key[0] for key in table.verdicts] == ["verify"] * FIRST_LOOKS
    assert not table.board.checks.open


def test_who_asked_hears_nothing_of_it_and_nothing_waits_for_it() -> None:
    table = table_of()
    suspect = table.attach("new", owner=OWNER)
    job = ask(table, suspect, "r")
    painted(table, job)
    assert job.state is JobState.ENDED
    assert job.generation.closed
    assert (ANNA, b"") not in table.board.live_by_requester


def test_a_check_looks_like_any_job() -> None:
    table = table_of()
    suspect = table.attach("new", owner=OWNER)
    job = ask(table, suspect, "r", images=1)
    job.generation.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    job.generation.spec, job.generation.quote = b"spec", b"quote"
    painted(table, job)
    (check,) = checks(table)
    like, generation = job.generation, check.generation
    assert (generation.spec, generation.quote, generation.ttl_ms) == (like.spec, like.quote, like.ttl_ms)
    assert (generation.terms.price, generation.terms.steps, generation.terms.model) == (PRICE, 20, "m")
    assert generation.seed + check.index == like.seed + job.index
    assert UUID(check.job_id).version == UUID(generation.generation_id).version == 5
    parts, other = generation.traceparent.split("-"), like.traceparent.split("-")
    assert [len(part) for part in parts] == [2, 32, 16, 2]
    assert (parts[0], parts[3]) == (other[0], other[3])
    assert parts[1] != other[1]
    assert generation.account_id == MESH


@pytest.mark.parametrize("images", [1, 3])
def test_the_seed_of_a_check_is_that_of_the_image(images: int) -> None:
    table = table_of()
    suspect = table.attach("new", slots=1, owner=OWNER)
    generation = table.queued("r", images, allowed=frozenset({suspect.worker_id}))
    for job in generation.jobs:
        painted(table, job)
    by_key = {case.key: case for case in table.board.checks.open.values()}
    for job in generation.jobs:
        (check,) = by_key[job.job_id].generations
        assert check.seed == generation.seed + job.index


JUNK: list[Callable[[int], Any]] = [lambda _: "blank", lambda number: f"random {number}"]


@pytest.mark.parametrize("junk", JUNK, ids=["blank", "random"])
def test_junk_is_caught_after_at_most_three_jobs(junk: Callable[[int], Any]) -> None:
    table = table_of()
    suspect = table.attach("junk", owner=OWNER)
    jobs = []
    for number in range(3):
        jobs.append(ask(table, suspect, f"r{number}"))
        painted(table, jobs[-1], junk(number))
        all_checked(table)
        if suspect.standing.caught:
            break
    assert suspect.standing.caught == 1
    assert len(jobs) <= 3
    # What it earned with them is taken, it begins anew with one job at once, and all that it paints is looked at.
    assert {job_id for verdict, job_id in table.verdicts if verdict == "slash"} == {job.job_id for job in jobs}
    assert set(table.verdicts.values()) == {OWNER}
    assert suspect.standing.paid_images == 0
    assert suspect.standing.rate == 1.0
    assert suspect.standing.faults[Fault.WORKER] == len(jobs)
    assert suspect.strikes >= 1
    many = table.queued("many", 5, allowed=frozenset({suspect.worker_id}))
    assert sum(job.state is JobState.LEASED for job in many.jobs) <= 1


def test_nobody_is_punished_for_one_picture_nor_before_a_third_opinion() -> None:
    table = table_of()
    suspect = table.attach("new", owner=OWNER)
    job = ask(table, suspect, "r")
    painted(table, job, "something else")
    (first,) = look(table)
    assert suspects_record(suspect) == (0, 0, 0.0)
    (third,) = look(table)
    assert third.owner not in (first.owner, OWNER)
    assert suspect.standing.doubt > 0
    assert suspect.standing.caught == 0
    assert not table.verdicts
    assert suspect.standing.rate == 1.0


def test_a_checker_who_is_outvoted_is_the_one_who_was_wrong() -> None:
    table = table_of()
    suspect = table.attach("new", owner=OWNER)
    job = ask(table, suspect, "r")
    painted(table, job, TRUTH)
    (first,) = look(table, "junk of the checker")
    liar = table.board.fleet.workers[first.worker_id]
    look(table, TRUTH)
    assert suspects_record(suspect) == (1, 0, 0.0)
    assert ("verify", job.job_id) in table.verdicts
    assert liar.standing.doubt > 0
    assert not liar.standing.checker
    # Others look from now on.
    for number in range(4):
        painted(table, ask(table, suspect, f"r{number}"))
        assert liar.owner not in {lease.owner for lease in all_checked(table)}


def test_of_three_pictures_of_which_none_is_like_another_nobody_is_blamed() -> None:
    table = table_of()
    suspect = table.attach("new", owner=OWNER)
    painted(table, ask(table, suspect, "r"), "one")
    look(table, "two")
    look(table, "three")
    assert suspects_record(suspect) == (0, 0, 0.0)
    assert not any(standing.doubt for standing in table.board.fleet.standings.values())
    assert not table.board.checks.open


def test_without_another_trusted_owner_for_a_third_opinion_nobody_is_blamed() -> None:
    table = table_of(checkers=1)
    suspect = table.attach("new", owner=OWNER)
    painted(table, ask(table, suspect, "r"), "junk")
    look(table)
    assert not table.board.checks.open
    assert suspects_record(suspect) == (0, 0, 0.0)
    # And it does not speak for him.
    assert suspect.standing.paid_images == 0


def test_where_nobody_trusted_is_here_a_picture_is_believed_as_before() -> None:
    table = table_of(checkers=0)
    suspect = table.attach("new", owner=OWNER)
    painted(table, ask(table, suspect, "r"))
    assert not table.board.checks.open
    assert suspect.standing.paid_images == 1


def test_what_is_looked_at_speaks_for_its_owner_only_once_it_was_right() -> None:
    table = table_of()
    suspect = table.attach("new", owner=OWNER)
    painted(table, ask(table, suspect, "r"))
    assert suspect.standing.paid_images == 0
    look(table)
    assert suspect.standing.paid_images == 1


def test_the_pictures_of_a_check_are_discarded_with_the_verdict_and_nothing_is_committed() -> None:
    table = table_of()
    suspect = table.attach("new", owner=OWNER)
    discarded: list[Any] = []
    do = table._do

    def noted(effect: fx.Effect) -> None:
        if isinstance(effect, fx.DiscardObject):
            discarded.append(effect.lease_id)
        do(effect)

    table._do = noted  # type: ignore[method-assign]
    job = ask(table, suspect, "r")
    job.generation.spec = job.generation.quote = b"words"
    painted(table, job, "junk")
    (first,) = look(table)
    assert first.lease_id not in discarded  # A third is to be compared with it.
    (third,) = look(table)
    assert {first.lease_id, third.lease_id} <= set(discarded)
    assert first.job.job_id not in table.committed
    # Nor are the words of who asked kept with it.
    assert at_once(table.store.forget(1, 10, b"gone")) == 2
    rows = [table.memory.generations[each.job.generation.generation_id] for each in (first, third)]
    assert [row["spec"] for row in rows] == [b"", b""]
    assert first.job.generation.closed
    assert third.job.generation.closed


def test_who_looks_earns_what_anybody_earns_for_the_job() -> None:
    table = table_of()
    suspect = table.attach("new", owner=OWNER)
    painted(table, ask(table, suspect, "r"))
    (lease,) = look(table)
    ending, amounts, owner = table.books.ended[lease.job.job_id]
    assert (ending, amounts.earned, owner) == (Ending.DONE, PRICE.price, lease.owner)
    # But it is not what somebody else paid for.
    assert table.board.fleet.workers[lease.worker_id].standing.paid_images == PROVEN


@pytest.mark.parametrize("how", ["fails", "budget", "away", "gone"])
def test_a_look_that_comes_to_nothing_says_nothing(how: str) -> None:
    table = table_of(checkers=1)
    suspect = table.attach("new", owner=OWNER)
    job = ask(table, suspect, "r", ttl=60.0)
    lease = table.lease(job)
    table.paint(lease, TRUTH)
    if how == "budget":
        while not any(isinstance(errand, fx.PlaceHolds) for errand in table.errands):
            if table.errands:
                table.run_errand(0)
            table.save()
        table.run_errand(0, refuse=True)
        table.run_errands()
    else:
        table.run_errands()
        if how == "gone":
            table.paint(table.lease(checks(table)[0]), TRUTH)
            table.run_errands(lose=True)
        elif how == "fails":
            check = table.lease(checks(table)[0])
            table.report(table.board.fleet.workers[check.worker_id], check.lease_id, check.job.job_id, Failed())
        else:
            table.vanish(table.board.fleet.workers[table.lease(checks(table)[0]).worker_id])
    table.pass_time(120.0)
    table.run_errands()
    assert not table.board.checks.open
    assert suspect.standing.open_checks == 0
    assert suspects_record(suspect) == (0, 0, 0.0)
    assert suspect.standing.paid_images == 0
    assert not table.books.held
    assert all(generation.closed for generation in table.board.generations.values())


def test_the_less_often_is_looked_the_longer_the_record() -> None:
    table = table_of(checks_part=0.03)
    standing = table.attach("w", owner=OWNER).standing
    rates = []
    for _ in range(1_000):
        rates.append(standing.rate)
        standing.was_right()
    assert rates[:FIRST_LOOKS] == [1.0] * FIRST_LOOKS
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0.01


def test_no_more_goes_into_checks_than_a_part_of_all_work_and_what_was_saved_up() -> None:
    table = table_of(checks_part=0.03)
    board = table.board
    board.checks.credit = 1_000.0
    suspects = [table.attach(f"s{number}", owner=stranger(number)) for number in range(400)]
    work = 0.0
    for number, suspect in enumerate(suspects):
        job = ask(table, suspect, f"r{number}")
        work += job.generation.terms.work
        painted(table, job)
        all_checked(table)
        assert board.checks.checked <= 1_000.0 + 0.03 * work
    assert board.checks.credit < job.generation.terms.work
    # Who could not be looked at is not believed for it.
    late = [suspect.standing.paid_images for suspect in suspects[-20:]]
    assert sum(late) <= 2


def test_those_who_are_looked_at_often_leave_something_to_look_at_the_others_with() -> None:
    table = table_of(checks_part=0.03)
    table.board.checks.credit = 0.0
    old, new = (table.attach(name, owner=stranger(number)) for number, name in enumerate(("old", "new")))
    old.standing.verified = 1_000
    table.board.checks.chance = lambda: 0.001
    for worker, looked_at in ((new, 0), (old, 1)):
        painted(table, ask(table, worker, f"r {worker.name}"))
        assert worker.standing.open_checks == looked_at


def test_one_owners_pictures_take_a_few_places_at_most() -> None:
    table = table_of()
    suspect = table.attach("new", slots=20, owner=OWNER)
    suspect.standing.first_slots = 20
    jobs = table.queued("r", 12, allowed=frozenset({suspect.worker_id})).jobs
    for worker in list(table.board.fleet.workers.values()):
        if worker is not suspect:
            table.board.fleet.changed(worker)
    for job in jobs:
        painted(table, job)
    assert suspect.standing.open_checks == MAX_OPEN_OF_ONE


def test_what_cannot_be_painted_again_brings_its_painter_a_canary() -> None:
    table = table_of()
    honest = table.attach("honest", owner=stranger(1))
    for _ in range(PROVEN):
        table.board.fleet.image_paid(honest)
    painted(table, ask(table, honest, "known", placement=SHARED))
    all_checked(table)
    suspect = table.attach("new", owner=OWNER)
    for number in range(3):
        job = ask(table, suspect, f"r{number}", input_ids=("i",))
        painted(table, job, "anything")
        (canary,) = checks(table)
        lease = table.lease(canary)
        assert lease.worker_id == suspect.worker_id
        assert canary.generation.terms.features == job.generation.terms.features
        table.paint(lease, "junk" if number else TRUTH)
        table.run_errands()
        assert suspect.standing.verified == (0 if suspect.standing.caught else 1)
    assert suspect.standing.caught == 1
    slashed = {job_id for verdict, job_id in table.verdicts if verdict == "slash"}
    assert len(slashed) == 2
    assert {table.board.jobs[job_id].generation.account_id for job_id in slashed} == {MESH}


def test_only_shared_pictures_become_known() -> None:
    table = table_of()
    honest = table.attach("honest", owner=stranger(1))
    for _ in range(PROVEN):
        table.board.fleet.image_paid(honest)
    painted(table, ask(table, honest, "private"))
    all_checked(table)
    assert not table.board.checks.known


@pytest.mark.parametrize("size", [150, 50_000])
def test_a_picture_of_next_to_no_bytes_is_always_looked_at(size: int) -> None:
    table = table_of()
    suspect = table.attach("old", owner=OWNER)
    suspect.standing.verified = 10_000
    table.board.checks.chance = lambda: 0.5
    job = ask(table, suspect, "r")
    painted(table, job, result=Painted(b"\1" * 32, size, 3, suspect.worker_id, OWNER))
    assert bool(table.board.checks.open) is (size < 1_000)


@pytest.mark.parametrize(("seconds", "looked_at"), [(0.01, True), (5.0, False)])
def test_a_picture_in_next_to_no_time_is_always_looked_at(seconds: float, looked_at: bool) -> None:
    table = table_of(checkers=1)
    honest = table.board.fleet.workers[next(iter(table.board.fleet.workers))]
    table.board.checks.chance = lambda: 0.5
    for number in range(3):
        job = ask(table, honest, f"h{number}")
        table.pass_time(5.0)
        painted(table, job)
    suspect = table.attach("quick", owner=OWNER)
    suspect.standing.verified = 10_000
    job = ask(table, suspect, "r")
    table.pass_time(seconds)
    painted(table, job)
    assert bool(table.board.checks.open) is looked_at


@pytest.mark.parametrize(("mine", "theirs", "asked"), [(b"a", b"a", True), (b"a", b"b", False), (b"", b"b", True)])
def test_only_who_has_the_same_weights_is_asked(mine: bytes, theirs: bytes, asked: bool) -> None:
    table = table_of(checkers=0)
    offers = capable().offers["m"]
    trusted(table, "t", 1, capabilities=Capabilities({"m": Offer(True, offers.max_pixels, offers.features, theirs)}))
    suspect = table.attach("new", owner=OWNER)
    job = ask(table, suspect, "r")
    painted(table, job, result=Painted(b"\1" * 32, 50_000, 3, suspect.worker_id, OWNER, digest=mine))
    assert bool(table.board.checks.open) is asked


def crash_points() -> Iterable[str]:
    return ("begun", "lent", "first opinion", "third lent", "verdict")


@pytest.mark.parametrize("point", crash_points())
@pytest.mark.parametrize("picture", [TRUTH, "junk"])
def test_a_case_goes_on_after_a_restart(point: str, picture: str) -> None:
    table = table_of()
    suspect = table.attach("new", owner=OWNER)
    job = ask(table, suspect, "r")
    lease = table.lease(job)
    table.paint(lease, picture)
    if point == "begun":
        while not table.board.checks.open:
            if table.errands:
                table.run_errand(0)
            table.save()
        table.save()
    else:
        table.run_errands()
    if point in ("first opinion", "third lent", "verdict"):
        first = table.lease(checks(table)[0])
        table.paint(first, TRUTH)
        if point == "first opinion":
            table.save()
        else:
            table.run_errands()
    if point == "verdict" and picture == "junk":
        third = table.lease(checks(table)[0])
        table.paint(third, TRUTH)
        while table.board.checks.open:
            if table.errands:
                table.run_errand(0)
            table.save()
    table.save()
    table.start()
    for number in range(3):
        table.attach(f"t{number}", slots=4, owner=stranger(1000 + number))
    table.run_errands()
    all_checked(table)
    table.settle_down()
    standing = table.board.fleet.standings[OWNER]
    assert not table.board.checks.open
    assert standing.open_checks == 0
    assert not table.books.held
    if picture == TRUTH:
        assert (standing.verified, standing.doubt) == (1, 0.0)
        assert ("verify", job.job_id) in table.verdicts
    else:
        assert standing.doubt > 0
    assert all(row["closed"] for row in table.memory.generations.values())


def test_the_record_survives_a_restart() -> None:
    table = table_of()
    suspect = table.attach("junk", owner=OWNER)
    for number in range(2):
        painted(table, ask(table, suspect, f"r{number}"), "junk")
        all_checked(table)
    assert suspect.standing.caught == 1
    suspect.standing.contradicted = 2
    table.board.dirty_owners[suspect.standing] = None
    table.save()
    table.start()
    standing = table.board.fleet.standings[OWNER]
    assert (standing.caught, standing.contradicted, standing.paid_images) == (1, 2, 0)
    assert standing.faults[Fault.WORKER] == 2


def test_a_verdict_that_the_ledger_has_not_heard_is_told_after_a_restart() -> None:
    table = table_of()
    suspect = table.attach("new", owner=OWNER)
    job = ask(table, suspect, "r")
    painted(table, job)
    table.paint(table.lease(checks(table)[0]), TRUTH)
    while not table.board.fleet.standings[OWNER].verdicts:
        if table.errands:
            table.run_errand(0)
        table.save()
    table.save()
    assert not table.verdicts
    table.start()
    table.run_errands()
    assert ("verify", job.job_id) in table.verdicts
    assert not table.board.fleet.standings[OWNER].verdicts


def test_doubt_goes_with_right_pictures_and_the_role_comes_back() -> None:
    table = table_of()
    worker = trusted(table, "t9", 9)
    standing = worker.standing
    standing.was_wrong(job_id_of_nobody(), strange=False)
    table.board.fleet.rejudged(standing)
    assert not standing.checker
    for _ in range(31):
        standing.was_right()
    assert (standing.checker, len(standing.doubted)) == (True, 0)


def job_id_of_nobody() -> Any:
    return str(UUID(int=1))


def test_a_new_name_of_the_owner_who_is_looked_at_does_not_get_the_check() -> None:
    table = table_of(checkers=1)
    busy = next(iter(table.board.fleet.workers.values()))
    suspect = trusted(table, "old", 7, slots=1)
    suspect.standing.verified = 0
    job = ask(table, suspect, "r")
    table.vanish(busy)
    table.attach("t0", slots=1, owner=busy.owner)
    painted(table, job)
    (check,) = checks(table)
    table.attach("another", slots=4, owner=suspect.owner)
    lease = table.lease(check)
    table.report(busy, lease.lease_id, check.job_id, Failed())
    table.pass_time(30.0)
    assert all(lease.owner != suspect.owner for lease in check.leases)


def test_uptime_is_for_those_whose_pictures_were_looked_at_and_right() -> None:
    table = table_of()
    suspect = table.attach("new", owner=OWNER)
    seen = table.board.record.seen
    for number, picture in enumerate((None, TRUTH, "junk")):
        job = ask(table, suspect, f"r{number}")
        painted(table, job, TRUTH if picture is None else picture)
        if picture is not None:
            all_checked(table)
        seen.clear()
        uptime.look(table.board, table.now_ms)
        assert (suspect.worker_id in seen) is (picture == TRUTH), picture
        all_checked(table)


def test_an_owner_with_many_names_is_not_all_who_is_asked_to_look() -> None:
    table = table_of(checkers=0)
    many = stranger(1)
    first = trusted(table, "n0", -999)
    assert first.owner == many
    for number in range(1, 70):
        table.attach(f"n{number}", owner=many, slots=4)
    other = trusted(table, "other", 7)
    job = ask(table, first, "r")
    first.standing.verified = 0
    painted(table, job)
    (check,) = checks(table)
    assert table.lease(check).worker_id == other.worker_id


def test_names_that_are_away_keep_no_canary_from_their_owner() -> None:
    table = table_of()
    honest = table.attach("honest", owner=stranger(1))
    for _ in range(PROVEN):
        table.board.fleet.image_paid(honest)
    painted(table, ask(table, honest, "known", placement=SHARED))
    all_checked(table)
    for number in range(10):
        table.vanish(table.attach(f"away{number}", owner=OWNER))
    suspect = table.attach("new", owner=OWNER)
    painted(table, ask(table, suspect, "r", input_ids=("i",)), "anything")
    (canary,) = checks(table)
    assert table.lease(canary).worker_id == suspect.worker_id
