"""Seeded defects: each is put into a copy of the scheduler, and the tests must fail. `make mutants-scheduler`.

A defect that no test catches is a hole in the tests, and ends this with status 1. Without an argument all are
tried; with words, those whose name has them.
"""

# ruff: noqa: E501 - a defect is one line, as long as the code it changes

from __future__ import annotations

import sys

from mutants import ROOT, Mutant, run

SOURCE = "scheduler/src/horde/scheduler"
UNIT = "tests/unit/scheduler"
FIRST = ("dispatch", "matching", "leases", "shares", "hedging", "strangers")
QUICK = tuple(f"{UNIT}/test_{name}.py" for name in FIRST)
CORE = (*QUICK, *sorted({f"{UNIT}/{path.name}" for path in (ROOT / UNIT).glob("test_*.py")} - {*QUICK}))
"""All; those first that catch most in the shortest time."""
LOOKS = ("tests/unit/scheduler/test_checking.py", "tests/unit/scheduler/test_cheats.py")
LEAVING = ("tests/unit/scheduler/test_leaving.py",)

MUTANTS = [
    # Matching.
    Mutant("do not look for workers for fresh jobs", "core/lending", (("        if not fresh[0].ticket or not _seek(board, fresh[0], now):\n            fresh.popleft()", "        fresh.popleft()"),)),
    Mutant("forget who is idle", "core/fleet", (("        if worker.free:\n            self.idle.add(worker, self._speeds)", "        if False:\n            self.idle.add(worker, self._speeds)"),)),
    Mutant("look no further after the first slice", "core/lending", (("    while looks > 0 and fleet.hungry:", "    fleet.hungry = dict(list(fleet.hungry.items())[:looks])\n    while looks > 0 and fleet.hungry:"),)),
    Mutant("a class misses heads that come earlier", "core/capability", (("        if self.head is None or entry < self.head:", "        if self.head is None:"),)),
    Mutant("a class looks one slot too far", "core/lanes", (("found = mine.first(worker_id, slot)\n", "found = mine.first(worker_id, slot + 1)\n"),)),
    Mutant("a class looks one slot too near", "core/lanes", (("found = mine.first(worker_id, slot + 1)", "found = mine.first(worker_id, slot)"),)),
    Mutant("a new kind of job joins no class", "core/lanes", (("        bucket.classes += [known for known in self._open.values() if known.fits(signature)]\n", ""),)),
    Mutant("a new kind of job joins no divided slot", "core/lanes", (("        bucket.classes += [heads for can, heads in self._divided.get(bucket.slot, {}).items() if _can(can, signature)]\n", ""),)),
    Mutant("heads that were passed over are lost", "core/capability", (("            heapq.heappush(heads.heap, other)\n", ""),)),
    Mutant("lend to those who are denied", "core/capability", (("                if worker_id not in bucket.signature.denied:\n                    break", "                if True:\n                    break"),)),
    Mutant("the tree misses heads that come earlier", "core/capability", (("        if head < self.tree[SLOTS + slot]:", "        if self.tree[SLOTS + slot] is NOTHING:"),)),
    Mutant("those whom a list names get nothing", "core/lanes", (("        if worker_id in self._allowing:\n", "        if False:\n"),)),
    Mutant("who is idle no longer stays listed", "core/roster", (("            shelf.remove(worker_id, limit)\n", "            if not self._by_speed:\n                shelf.remove(worker_id, limit)\n"),)),
    Mutant("workers fit up to their limit but not with it", "core/roster", (("bisect_left(shelf.limits, signature.pixels)", "bisect_left(shelf.limits, signature.pixels + 1)"),)),
    Mutant("who has become fast is not looked at again", "core/reporting", (("        board.fleet.measured(terms.model)\n", ""),)),
    Mutant("the second look sees nothing", "core/lending", (("        if board.queue.first(worker, now, board.speeds) is not None:", "        if False:"),)),
    Mutant("what nobody can paint makes its model urgent", "core/matching", (("            if entry is None:\n                continue\n", "            if entry is None:\n                heads = [bucket.head for lane in (queues[model].named, queues[model].anonymous) for bucket in lane.buckets.values() if bucket.head]\n                if best is None or now - heads[0][3].queued_at > highest:\n                    best, highest = None, now - heads[0][3].queued_at\n                continue\n"),)),
    Mutant("the loaded model is always preferred", "core/matching", (("max(0.0, 1.0 - served / STICKY)", "1e9"),)),
    # Fairness.
    Mutant("a weight that changes is not counted anew", "core/shares", (("                    self.weight += thousandths - flow.weight\n", "                    pass\n"),)),
    Mutant("what nobody can paint weighs on the clock", "core/matching", (("            bucket.paintable = self._paintable(self._model, bucket.signature)\n", "            bucket.paintable = True\n"),)),
    Mutant("newcomers go first for ever", "core/shares", (("self.clock = max(self.clock, tag) + work * 1000 / max(self.weight, flow.weight)", "self.clock = max(self.clock, tag)"),)),
    Mutant("who was away has saved something up", "core/shares", (("        tag = max(self.clock, flow.end)\n", "        tag = flow.end if flow.end else self.clock\n"), ("        if flow.end <= self.clock:\n            del self.flows[name]\n            return\n", ""))),
    Mutant("debts of all are forgotten", "core/shares", (("for _, name in debts[: MAX_DEBTORS // 4]:", "for _, name in debts:"), ("del debts[: MAX_DEBTORS // 4]", "debts.clear()"))),
    Mutant("withdrawn jobs are owed for", "core/shares", (("        if flow.waiting == 1:\n", "        if False:\n"),)),
    Mutant("the anonymous pass accounts", "core/matching", (("        return anonymous if self.anonymous_start < named[0] else named", "        return anonymous"), (" or (named is not None and named[0] < self.anonymous_start)", ""))),
    # Leases and retries.
    Mutant("whoever failed gets it again at once", "core/returning", (("    job.barred = barred(board, job)\n", "    job.barred = frozenset()\n"),)),
    Mutant("whoever failed never gets it again", "core/lending", (("        if not any(_waited_for(job, worker) for worker in others):", "        if False:"),)),
    Mutant("nobody else is preferred", "core/lending", (("        if not any(_waited_for(job, worker) for worker in others):", "        if True:"),)),
    Mutant("the mesh's losses count as attempts", "core/returning", (("    had = [lease for lease in job.leases if lease.fault is not Fault.MESH]", "    had = list(job.leases)"),)),
    Mutant("the mesh's losses strike workers", "core/lending", (("        if fault is Fault.WORKER:\n", "        if True:\n"),)),
    Mutant("whose fault a lease's end was is not written", "core/rows", (("        int(lease.fault),\n", "        0,\n"),)),
    Mutant("heartbeats extend a lease", "core/lending", (("if lease is None or (step <= lease.step and stage <= lease.stage):", "if lease is None:"), ("    if step > lease.step:\n        lease.step", "    if True:\n        lease.step"))),
    Mutant("one attempt too many", "core/returning", (("    return failures >= MAX_ATTEMPTS and", "    return failures > MAX_ATTEMPTS and"),)),
    Mutant("a worker holds one lease more than it has slots", "core/fleet", (("            and len(self.leases) < session.slots", "            and len(self.leases) <= session.slots"),)),
    # Pictures that are painted a second time.
    Mutant("checks: an owner looks at his own pictures", "core/asking", (("        if worker.owner not in painters and", "        if"),), LOOKS),
    Mutant("checks: anybody looks, trusted or not", "core/checks", (("terms.features | CHECKER_FEATURE", "terms.features"),), LOOKS),
    Mutant("checks: who was wrong himself goes on looking", "core/standing", (("        return self.proven and not self.doubt", "        return self.proven"),), LOOKS),
    Mutant("checks: nobody asks for a third opinion", "core/judging", (("    elif not asking.ask(board, case, job.generation, 0, now, now_ms):\n        close(board, case, OPEN)", "    else:\n        _wrong(board, subject, distance, now)\n        close(board, case, WRONG)"),), LOOKS),
    Mutant("checks: one wrong picture is enough", "core/standing", (("CAUGHT = 8.9", "CAUGHT = 2.9"),), LOOKS),
    Mutant("checks: an outvoted checker is believed", "core/judging", (("        _wrong(board, checker, with_checker, now)\n", ""),), LOOKS),
    Mutant("checks: the pay of what was wrong is left alone", "core/judging", (("""            _tell(board, standing, "slash", doubted)""", "            pass"),), LOOKS),
    Mutant("checks: who is caught keeps his standing", "core/standing", (("        self.paid_images = self.verified = 0\n", ""),), LOOKS),
    Mutant("checks: a picture counts before it was looked at", "core/checking", (("    subject = opinion_of(lease,", "    _believe(board, lease, counts=counts)\n    subject = opinion_of(lease,"),), LOOKS),
    Mutant("checks: without room everybody is believed", "core/checking", (("        if standing.proven:\n", "        if True:\n"),), LOOKS),
    Mutant("checks: they may cost anything", "core/checks", ((" and enough\n", "\n"),), LOOKS),
    Mutant("checks: newcomers use up what is for the others", "core/checks", (("work <= self.credit if urgent else work <= max(self.kept, self.credit - CREDIT / 2)", "work <= self.credit"),), LOOKS),
    Mutant("checks: their pictures are kept", "core/judging", (("                job.leavings.add(job.winner.lease_id)\n                board.dirty_jobs[job] = None\n                board.emit_after_save(DiscardObject(job, job.winner.lease_id))", "                pass"),), LOOKS),
    Mutant("checks: private pictures become canaries", "core/judging", (("case.subject.picture.placement == SHARED and ", ""),), LOOKS),
    Mutant("checks: a canary tells itself by what it needs", "core/checks", (("terms.features & ~CHECKER_FEATURE if canary else", "terms.features if canary else"),), LOOKS),
    Mutant("checks: nothing is learned of devices", "core/likeness", (("        if len(pairs) < ENOUGH:", "        if True:"),), LOOKS),
    Mutant("checks: the record of owners is not written", "core/owner_rows", (("""        "caught": standing.caught,""", """        "caught": 0,"""),), LOOKS),
    Mutant("checks: a case is lost in a restart", "core/reload", (("    checking.restore(board)\n", "    for lost in [each for each in read if each.check is not None]:\n        lost.check.case = lost.check.case or next(each.check.case for each in read if each.check and each.check.case)\n"),), LOOKS),
    Mutant("checks: the seed of a check is another", "core/asking", (("(like.seed + index) % SEED_SPACE", "(like.seed + index + 1) % SEED_SPACE"),), LOOKS),
    Mutant("checks: strangers of one mind are paid for withholding", "core/reporting", ((" if worker.standing.proven else NOTHING\n", "\n"),), ("tests/unit/scheduler/test_strangers.py",)),
    Mutant("a stranger's names fail apart", "core/fleet", (("            self.standing.failed(now)\n", "            pass\n"),), ("tests/unit/scheduler/test_strangers.py",)),
    Mutant("a new name of a stranger has rested", "core/returning", (("    worker.rests_until = max(worker.rests_until, worker.standing.rests_until)\n", ""),), ("tests/unit/scheduler/test_strangers.py",)),
    Mutant("checks: one who dawdles takes all places", "core/lending", (("    return free > 0 and mine < max(1, free)", "    return most > len(hedged)"),), ("tests/unit/scheduler/test_hedging.py",)),
    Mutant("checks: a wrong clock keeps generations alive", "core/rows", (("min(moment.core(row[\"accepted_at_ms\"] + row[\"ttl_ms\"]), moment.now + row[\"ttl_ms\"] / 1000)", "moment.core(row[\"accepted_at_ms\"] + row[\"ttl_ms\"])"),), ("tests/unit/scheduler/test_clocks.py",)),
    # Who leaves.
    Mutant("leaving: late sessions are let in", "core/attaching", (("    if owner in board.left:\n", "    if False:\n"),), LEAVING),
    Mutant("leaving: what was under way is written", "core/owner_rows", (("        if standing.owner not in left or fleet.standings.get(standing.owner) is standing\n", ""),), LEAVING),
    Mutant("leaving: a late strike is written", "core/owner_rows", ((" if strike.owner not in left]", "]"),), LEAVING),
    Mutant("leaving: a late verdict begins a new record", "core/judging", (("    standing = fleet.standings.get(alone.owner)\n", "    standing = fleet.standing_of(alone.owner)\n"),), LEAVING),
    Mutant("leaving: nobody waits for looks that are open", "core/leaving", (("standing.workers or standing.open_checks or standing.verdicts", "standing.workers"),), LEAVING),
    Mutant("leaving: sessions stay", "core/leaving", (("            attaching.closed(board, route, now, now_ms)\n", ""),), LEAVING),
]  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(SOURCE, CORE, MUTANTS))
