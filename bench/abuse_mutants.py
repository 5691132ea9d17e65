"""Seeded defects in the rules against ill will: fault classes, escrow, budgets, shares, looks at pictures, brakes; the
tests must catch each. `make mutants-abuse`; see scheduler_mutants.py and ledger_mutants.py, of which these are a part.
"""

# ruff: noqa: E501 - a defect is one line, as long as the code it changes

from __future__ import annotations

import sys
from dataclasses import replace

import ledger_mutants
import scheduler_mutants
from mutants import Mutant, run

SERVICES, GATEWAY = "services/src/horde/services", "gateway/src/horde/gateway"
STRANGERS = ("tests/unit/scheduler/test_strangers.py",)
BRAKES = ("tests/unit/services/test_brakes.py",)
SEATS = ("tests/service/gateway/test_seats.py",)
MISSES = ("tests/service/gateway/test_misses.py",)
ECONOMY = (ledger_mutants.BUDGETS, ledger_mutants.ENDINGS, ledger_mutants.UPTIME)

OWN = [
    # Whose fault it was, and whose word counts.
    Mutant("attempts count by worker", "core/returning", (("    failed = job.failed_owners\n", "    failed = [lease for lease in job.leases if lease.fault is Fault.WORKER]  # type: ignore\n"),), STRANGERS, scheduler_mutants.SOURCE),
    Mutant("three strangers' word ends a job", "core/returning", (("        return not proven_left(board, job)\n", "        return True\n"),), STRANGERS, scheduler_mutants.SOURCE),
    Mutant("a refusal is an attempt", "core/reporting", (("            _returned(board, worker, route, lease, now, detail, Fault.REFUSED)\n", "            _returned(board, worker, route, lease, now, detail, Fault.WORKER)\n"),), STRANGERS, scheduler_mutants.SOURCE),
    Mutant("only the name that refused is not offered it", "core/fleet", (("return [self] if self.standing.proven else list(self.standing.workers.values())", "return [self]"),), STRANGERS, scheduler_mutants.SOURCE),
    Mutant("a newcomer has all slots", "core/standing", (("return self.open_leases >= self.first_slots + self.paid_images and not self.proven", "return False"),), STRANGERS, scheduler_mutants.SOURCE),
    # Refusals.
    Mutant("refusals that wait are shared by nobody", "brakes", (('{"network": 1.0}', '{"network": 1e9}'),), BRAKES, SERVICES),
    Mutant("a flood without a seat is told at once", "brakes", (("            self._overflowed(connection)\n", "            pass\n"),), BRAKES, SERVICES),
    Mutant("a fresh connection has all its refusals free", "brakes", (("self._cuts_of(connection) + of_network if mostly", "self._cuts_of(connection) if mostly"),), BRAKES, SERVICES),
    Mutant("nobody is cut", "brakes", (("        if cuttable and mostly and", "        if False and"),), BRAKES, SERVICES),
    Mutant("looks that found nothing are not counted", "doors/misses", (("                self._counters.admit([draw], self._clock.monotonic())\n", "                pass\n"),), MISSES, GATEWAY),
    Mutant("who has something here pays for his neighbours", "doors/misses", ((" and name not in self._found", ""),), MISSES, GATEWAY),
    # Seats.
    Mutant("no sessions are kept for who has a record", "core/seats", (("_KEPT_SESSIONS: Final = 0.5", "_KEPT_SESSIONS: Final = 0.0"),), SEATS, GATEWAY),
    Mutant("no watches are kept for accounts", "core/seats", (("_KEPT_WATCHES: Final = 0.4", "_KEPT_WATCHES: Final = 0.0"),), ("tests/unit/gateway/test_seats.py",), GATEWAY),
]  # fmt: skip
MUTANTS = [
    *OWN,
    *(replace(mutant, service=mutant.service or ledger_mutants.LEDGER) for mutant in ledger_mutants.MUTANTS if mutant.tests in ECONOMY),
    *(replace(mutant, service=scheduler_mutants.SOURCE) for mutant in scheduler_mutants.MUTANTS if mutant.tests and not mutant.name.startswith("leaving")),
]  # fmt: skip


if __name__ == "__main__":
    sys.exit(run("", (), MUTANTS))
