"""Seeded defects: each is put into a copy of the ledger (or of the scheduler, where it decides what is paid), and the
tests must fail. `make mutants-ledger`.

A defect that no test catches is a hole in the tests, and ends this with status 1. Without an argument all are
tried; with words, those whose name has them; with a number before them, those from that one on.
"""

# ruff: noqa: E501 - a defect is one line, as long as the code it changes

from __future__ import annotations

import sys

from mutants import Mutant, run

LEDGER = "ledger/src/horde/ledger"
SCHEDULER = "scheduler/src/horde/scheduler"
CORE = ("tests/unit/ledger",)
STORE = ("tests/conformance/ledger/test_store.py", "-k", "sqlite")
AUDIT = ("tests/conformance/ledger/test_audit.py", "-k", "sqlite")
DOOR = ("tests/service/ledger/test_servicer.py",)
BUDGETS = ("tests/unit/ledger/test_budgets.py", "tests/unit/ledger/test_economy.py")
UPTIME = ("tests/unit/scheduler/test_uptime.py",)
ENDINGS = ("tests/unit/scheduler/test_endings.py", "tests/unit/scheduler/test_settling.py")


MUTANTS = [
    Mutant("drop the fingerprint", "core/journal", (("if recorded.fingerprint != mark:", "if False:"),)),
    Mutant(
        "skip the epoch check",
        "store/sql",
        (("WHERE shard = 0 AND {' AND '", "WHERE shard = 0 OR {' AND '"),),
        STORE,
    ),
    Mutant(
        "answer before the commit",
        "writer",
        (("                batch = journal.seal()\n", "                batch = journal.seal()\n                for call in calls:\n                    call.future.set_result(call.answers)\n"),),
    ),
    Mutant(
        "float arithmetic",
        "core/economy",
        (("free - free * (self.escrow_denominator - self.escrow_numerator) // self.escrow_denominator", "free - round(free * 0.5)"),),
    ),
    Mutant(
        "settle without releasing the rest",
        "core/holds",
        (("_give_back(book, hold, hold.own - charged, hold.subsidised - subsidised,", "_give_back(book, hold, 0, 0,"),),
    ),
    Mutant("forget refusals", "core/journal", (("if refusal.reason in REMEMBERED:", "if False:"),), STORE),
    Mutant("leave a settled hold open", "core/holds", (("    book.close_hold(hold)\n", ""),)),
    Mutant("do not count what a subsidy gave", "core/holds", (("    owner.subsidy_used += amount\n", ""),)),
    Mutant("no bound on what subsidies pay", "core/economy", (("parked = max(0, subsidised - within)", "parked = 0"),)),
    Mutant("promote the young", "core/economy", (("now_us - owner.opened_us >= self.promotion_age_us", "True"),)),
    Mutant("count what is parked", "core/economy", (("free = escrow_mkudos - owner.parked", "free = escrow_mkudos"),)),
    Mutant("break the chain of blocks", "core/chain", (("header + previous_hash + merkle_root", "header + merkle_root"),)),
    Mutant("keep memory after a failed commit", "writer", (("        self._journal = None\n        self._requeue([*self._take_decided(), *calls])", "        self._requeue([*self._take_decided(), *calls])"),)),
    Mutant("give what only a subsidy would add", "core/rewards", (("free = max(0, book.posted(source) - economy.floor_mkudos)", "free = 10**12"),)),
    Mutant("play ping-pong", "core/rewards", (('        return "gift_back_after_us"', '        return ""'),)),
    Mutant("forget gifts with the writer", "core/rewards", (('giving.add(entry["op"]["to"],', 'Giving().add(entry["op"]["to"],'),), STORE),
    Mutant("remember a sealed batch too few", "core/journal", (("SEALED_KEPT: Final = 3", "SEALED_KEPT: Final = 2"),)),
    Mutant("decide in another order after a failed commit", "writer", (("            self._failed += calls\n", "            self._failed = calls + self._failed\n"),)),
    Mutant("answer a repeat of what was not committed", "writer", (("                if self._journal is None:\n", "                if False:\n"),)),
    Mutant("answer a repeat of what is being committed", "writer", (("                await asyncio.wait([before])\n", ""),)),
    Mutant("give the store all there is", "writer", (("MAX_WRITING: Final = 2", "MAX_WRITING: Final = 9"),)),
    Mutant("let every caller do everything", "core/permissions", (("if caller not in OPERATIONS[kind]:", "if False:"),), DOOR),
    Mutant("pay a censored picture from the hold", "core/holds", (("source = CENSOR_SUBSIDY if censored else HELD", "source = HELD"),)),
    Mutant("release to the payer what a subsidy gave", "core/holds", (("transfers.append(Transfer(HELD, AccountName(hold.subsidy), subsidised, _RELEASE))", "transfers.append(Transfer(HELD, spend_of(hold.payer_id), subsidised, _RELEASE))"),)),
    Mutant("pay uptime twice", "core/journal", (("        if recorded is not None:\n            return self._repeat", "        if recorded is not None and operation.kind is not EventKind.UPTIME_REWARD:\n            return self._repeat"),)),
    Mutant("hold half a group", "core/holds", (("    for hold in asked.holds:\n        parts", "    for hold in asked.holds[:2]:\n        parts"),)),
    Mutant("forget what is decided and not committed", "core/journal", (("        for work in self._unseen:\n", "        for work in ():\n"),)),
    Mutant("charge tax to nobody", "core/holds", (("    if asked.tax_mkudos:\n", "    if False:\n"),)),
    Mutant("lose a line of the statement", "core/holds", (("for account_id in (payer_id, owner_id) if", "for account_id in (owner_id,) if"),), STORE),
    Mutant("do not look at balances in the audit", "core/audit", (("            _balances(rows, recomputed, report)\n", ""),), AUDIT),
    Mutant("no share of a token", "core/budgets", (('return Taker((("token", digest), ("address", address)))', 'return Taker((("address", address),))'),), BUDGETS),
    Mutant("no share of an address", "core/budgets", (('return Taker((("token", digest), ("address", address)))', 'return Taker((("token", digest),))'),), BUDGETS),
    Mutant("forget the day with the writer", "core/budgets", (("        day.follow(entry)\n", "        pass\n"),), BUDGETS),
    Mutant("do not give back to the day what came back", "core/budgets", (("if taker is not None and returned:", "if False:"),), BUDGETS),
    Mutant("a day never ends", "core/budgets", (("if now_us // DAY_US > self.day:", "if not self.day:"),), BUDGETS),
    Mutant("believe a clock that steps back", "core/budgets", (("if now_us // DAY_US > self.day:", "if now_us // DAY_US != self.day:"),), BUDGETS),
    Mutant("one puppet feeds all who censor", "core/budgets", (('(("payer", payer_id),)', "()"),), BUDGETS),
    Mutant("pay for all that is censored", "core/holds", (("            return 0, 0\n", "            return earned, surcharge\n"),), BUDGETS),
    Mutant("a subsidy pays for what was cancelled", "core/holds", (("min(earned, left, hold.own)", "min(earned, left)"),), BUDGETS),
    Mutant("no bound on what cancelled jobs pay", "core/holds", (("min(earned, left, hold.own)", "min(earned, hold.own)"),), BUDGETS),
    Mutant("a floor for the newborn", "core/economy", (("if now_us - owner.opened_us < self.floor_age_s * 1_000_000:", "if False:"),), BUDGETS),
    Mutant("no budget of the floor over everybody", "core/holds", (("        day.floor.take(taker, needed - own)\n", "        pass\n"),), BUDGETS),
    Mutant("no budget of uptime", "core/rewards", (('    book.today(now_us).uptime.take(Taker((("owner", asked.owner_id),)), reward)\n', ""),), BUDGETS),
    Mutant("uptime is shared with nobody", "core/economy", ((" // sharers", ""),), BUDGETS),
    Mutant("pay uptime for the time away", "core/economy", (("min(full, fair) * offered_permille // 1000", "min(full, fair)"),), BUDGETS),
    Mutant("slash more than the job earned", "core/rewards", (("amount = min(amount or earned, earned)", "amount = (amount or earned) + 1"),), BUDGETS),
    Mutant("slash somebody else", "core/rewards", ((' or paid["op"]["owner"] != account_id', ""),), BUDGETS),
    Mutant("the scheduler slashes for no job", "core/permissions", (("if isinstance(operation, Slash) and caller == SCHEDULER and not operation.job_id:", "if False:"),), DOOR),
    Mutant("release what may live", "core/holds", (("if asked.note and hold.day > day_of(now_us) - ORPHANED_DAYS:", "if False:"),)),
    Mutant("release without a reason", "core/permissions", (("if isinstance(operation, Release) and bool(operation.note) != (caller == OPERATOR):", "if False:"),), DOOR),
    Mutant("do not record the address", "core/holds", (("    if asked.address_digest:\n", "    if False:\n"),), BUDGETS),
    Mutant("one's own workers make the pace", "core/endings", (("return median(others) if others else None", "return median(by_owner.values()) if by_owner else None"),), ENDINGS, SCHEDULER),
    Mutant("believe steps that nobody can measure", "core/endings", (("return min(believed, UNMEASURED_STEPS)", "return believed"),), ENDINGS, SCHEDULER),
    Mutant("a worker has all its time for each", "core/settling", ((" / max(1, painting)", ""),), ENDINGS, SCHEDULER),
    Mutant("anonymous requests prove a worker", "core/uptime", (("payer in (ANONYMOUS, MESH, winner.owner)", "payer in (MESH, winner.owner)"),), UPTIME, SCHEDULER),
    Mutant("one proves oneself", "core/uptime", (("payer in (ANONYMOUS, MESH, winner.owner)", "payer in (ANONYMOUS, MESH)"),), UPTIME, SCHEDULER),
    Mutant("one's own wishes are demand", "core/uptime", (("payer != owner and now_ms", "now_ms"),), UPTIME, SCHEDULER),
    Mutant("pay for no slots", "core/uptime", ((" and session.slots > 0", ""),), UPTIME, SCHEDULER),
    Mutant("share among workers, not owners", "core/uptime", (("sharers = len(workers_of) * workers_of[worker.owner]", "sharers = len(rewarded)"),), UPTIME, SCHEDULER),
]  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(LEDGER, CORE, MUTANTS))
