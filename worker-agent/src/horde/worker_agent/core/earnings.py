"""What the owner is shown: the ledger's numbers, as they are, in words. Adds up; decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from horde.worker_agent.core.settling import Disposition, Settlement


def kudos(milli: int) -> str:
    """Milli-kudos as kudos."""
    return f"{milli / 1000:,.3f}"


def sentence(settlement: Settlement) -> str:
    """One entry, each of its parts by itself."""
    how = "".join(f" x {permille / 1000:g} ({why})" for why, permille in settlement.multipliers)
    base = f" of base {kudos(settlement.base)}{how}" if settlement.base else ""
    parts = [f"{kudos(settlement.earned)} kudos{base}"]
    if settlement.to_escrow:
        why = f" ({settlement.escrow_reason})" if settlement.escrow_reason else ""
        parts.append(f"{kudos(settlement.to_spend)} to spend, {kudos(settlement.to_escrow)} in escrow{why}")
    parts.append(f"tax burned {kudos(settlement.tax)}")
    return "; ".join(parts)


@dataclass(slots=True)
class Tally:
    """What this run of the agent came to."""

    accepted: int = 0
    unpaid: int = 0
    """Settled otherwise: somebody else was first, or the job had ended."""
    earned: int = 0
    escrow: int = 0

    def count(self, disposition: Disposition, settlement: Settlement | None) -> None:
        if disposition is Disposition.ACCEPTED:
            self.accepted += 1
        else:
            self.unpaid += 1
        if settlement is not None:
            self.earned += settlement.earned
            self.escrow += settlement.to_escrow
