"""Seeded defects: each is put into a copy of the ledger, and the tests must fail. `make mutants-ledger`.

A defect that no test catches is a hole in the tests, and ends this with status 1. Without an argument all are
tried; with words, those whose name has them.
"""

# ruff: noqa: E501 - a defect is one line, as long as the code it changes

from __future__ import annotations

import sys

from mutants import Mutant, run

SOURCE = "ledger/src/horde/ledger"
CORE = ("tests/unit/ledger",)
STORE = ("tests/conformance/ledger/test_store.py", "-k", "sqlite")
AUDIT = ("tests/conformance/ledger/test_audit.py", "-k", "sqlite")
DOOR = ("tests/service/ledger/test_servicer.py",)


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
    Mutant("lose a line of the statement", "core/holds", (("return (owner_id,) if payer_id == ANONYMOUS else (payer_id, owner_id)", "return (owner_id,)"),), STORE),
    Mutant("do not look at balances in the audit", "core/audit", (("            _balances(rows, recomputed, report)\n", ""),), AUDIT),
]  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(SOURCE, CORE, MUTANTS))
