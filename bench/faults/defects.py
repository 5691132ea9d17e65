"""Defects that are put into the services' own code, one at a time, to see whether the simulation notices.

Each replaces a piece of one module as it is imported; nothing on disk changes. It must be put in before anything of the
services is imported, so each is tried in a process of its own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from typing import Any


@dataclass(frozen=True)
class Defect:
    """What is replaced in a module, by what."""

    name: str
    module: str
    """The end of its path."""
    before: str
    after: str


def _defect(name: str, module: str, before: str, after: str) -> Defect:
    return Defect(name, module, before, after)


DEFECTS = (
    _defect("it is paid before the picture is in place", "scheduler/core/settling.py",
            "board.emit_after_save(CommitObject(job) if job.generation.check is None else ComparePictures(job))",
            "board.emit_after_save(_payment(job))"),
    _defect("it is paid before it is written that the picture is in place", "scheduler/core/settling.py",
            "    board.dirty_jobs[job] = None\n    board.emit_after_save(_payment(job))", "    board.emit(_payment(job))"),
    _defect("a decision is acted on before it is durable", "scheduler/core/settling.py",
            "        else:\n            board.emit_after_save(_payment(job))", "        else:\n            board.emit(_payment(job))"),
    _defect("kudos are held before the generation is durable", "scheduler/core/accepting.py",
            "        board.emit_after_save(PlaceHolds(generation))", "        board.emit(PlaceHolds(generation))"),
    _defect("a cancel ends what has its end already", "scheduler/core/settling.py",
            "for job in generation.jobs if job.open]", "for job in generation.jobs if job.live]"),
    _defect("a receipt for something else is taken", "scheduler/doors/grants.py",
            'claims["act"] != "receipt" or claims["job_id"] != outcome.job_id or claims["lease_id"] != outcome.lease_id',
            "False"),
    _defect("a second outcome wins again", "scheduler/core/reporting.py", "    elif job.open and (", "    elif job.live and ("),
    _defect("after a restart nobody carries out what was decided", "scheduler/core/reload.py",
            "    settling.carry_out(board, job)\n", ""),
    _defect("after a restart what was queued is forgotten", "scheduler/core/reload.py", "        board.queue.push(job, now)\n        board.fresh.append(job)\n", "        pass\n"),
    _defect("after a restart a lease has no end", "scheduler/core/reload.py",
            "    board.deadlines.add(min(lease.lapses_at, lease.behind_at), lease)\n    board.deadlines.add(now + board.limits.resume_grace, worker)\n", ""),
    _defect("a lease without progress never lapses", "scheduler/core/lending.py",
            "    board.deadlines.add(min(lease.lapses_at, lease.behind_at), lease)\n\n\ndef behind_at", "\n\ndef behind_at"),
    _defect("a job that came back is looked at by nobody", "scheduler/core/returning.py",
            "    board.fresh.append(job)\n", ""),
    _defect("one more job than slots", "scheduler/core/fleet.py",
            "and len(self.leases) < session.slots\n", "and len(self.leases) <= session.slots\n"),
    _defect("what is not durable is shown", "scheduler/store/saver.py", "        if not self.unsaved(generation):", "        if True:"),
    _defect("a write that failed is taken for done", "scheduler/store/saver.py",
            "                await self._clock.sleep(pause)\n                pause = min(2 * pause, LONGEST_PAUSE)",
            "                return frozenset()  # type: ignore[return-value]"),
    _defect("what a neighbour did not answer is forgotten", "scheduler/neighbours/courier.py",
            "                    self._items.extendleft(reversed(again))\n", ""),
    _defect("an old scheduler still writes", "scheduler/store/memory.py", "if memory.epoch != self._epoch:", "if False:"),
    _defect("places are not given back", "scheduler/core/settling.py", "    board.places.count(job.generation, -1)\n", ""),
    _defect("the same id with other content is taken", "scheduler/doors/submitting.py",
            "            compare(known, submission)\n            if known.phase", "            if known.phase"),
    _defect("a second restatement takes back what crossed it", "scheduler/core/attaching.py",
            " and lease.granted_at < session.stated_at:", ":"),
    _defect("inputs are kept for ever", "scheduler/core/settling.py",
            "        board.emit_after_save(ReleaseInputs(generation))\n", "        inputs_released(board, generation)\n"),
    _defect("an event is applied twice", "ledger/core/journal.py",
            "recorded = self._newer(event.event_id) or known.recorded.get(event.event_id)",
            "recorded = self._newer(event.event_id)"),
    _defect("what was not committed stays in the ledger's memory", "ledger/writer.py",
            "        self._journal = None\n        self._requeue([*self._take_decided(), *calls])",
            "        self._requeue([*self._take_decided(), *calls])"),
    _defect("an old ledger still writes", "ledger/store/memory.py", "if self._head.epoch != previous.epoch:", "if False:"),
    _defect("a release gives a kudos too little back", "ledger/core/holds.py",
            "_give_back(book, hold, hold.own, hold.subsidised, transfers, now_us)\n    decided",
            "_give_back(book, hold, max(0, hold.own - 1), hold.subsidised, transfers, now_us)\n    decided"),
    _defect("everything is put into the shared bucket", "storage_router/commits.py",
            "        if order.placement is Placement.SHARED:\n            return await self._shared.place(",
            "        if True:\n            return await self._shared.place("),
    _defect("a repeated commit finds nothing", "storage_router/commits.py",
            "            if taken is None or taken.record.content.sha256 != order.sha256:\n"
            "                return await self._find_in_place(order, taken)",
            "            if taken is None:\n                raise ObjectNotFound"),
    _defect("a lease is closed before its picture is in place", "storage_router/commits.py",
            "            committed = await self._place(order, taken.record, taken.data)\n",
            "            await self._quarantine.close(order.job_id, order.lease_id, taken.record)\n"
            "            committed = await self._place(order, taken.record, taken.data)\n"),
    _defect("anonymous pictures stay private", "gateway/core/placement.py", "    if facts.anonymous:\n", "    if False:\n"),
    _defect("private pictures pay the tax of shared ones", "gateway/core/placement.py",
            "return PlacementDecision(Placement.PRIVATE, TAX_PRIVATE_MKUDOS, ())",
            "return PlacementDecision(Placement.PRIVATE, TAX_SHARED_MKUDOS, ())"),
    _defect("workers are not asked to restate", "gateway/doors/relay.py",
            "                session.restating = epoch\n                session.say(Hears(resync=service_pb2.Resync(epoch=epoch)))",
            "                pass"),
)  # fmt: skip


def put_in(name: str) -> None:
    """Have the module come with this defect when it is imported. Raises ValueError if that is too late, or unknown."""
    defect = next((each for each in DEFECTS if each.name == name), None)
    if defect is None:
        raise ValueError(f"no defect is called {name!r}")
    if any(name.startswith(("horde.scheduler.", "horde.ledger.", "horde.gateway.")) for name in sys.modules):
        raise ValueError("the services are imported already")
    read = SourceFileLoader.get_data
    found: list[str] = []

    def get_data(self: Any, path: str) -> bytes:
        if "/horde/" + defect.module[:-3] in path.replace("__pycache__/", ""):
            if path.endswith(".pyc"):
                raise OSError("not this one")
            text = read(self, path).decode()
            if text.count(defect.before) != 1:
                raise ValueError(f"{defect.name}: what it replaces is {text.count(defect.before)} times in {path}")
            found.append(path)
            return text.replace(defect.before, defect.after).encode()
        return read(self, path)

    SourceFileLoader.get_data = get_data  # type: ignore[method-assign]
    sys.dont_write_bytecode = True
