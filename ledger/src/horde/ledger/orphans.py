"""`python -m horde.ledger.orphans`: open holds that nobody can come for any more, and their release.

A scheduler whose database was lost never ends the jobs that it had: their kudos would stay held for ever. A job lives a
day at most, so what was placed two days ago or before is such a one. Nothing is changed without `--release`; what is
released is an entry of the journal with the reason and who ran this.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from horde.api.job.v1 import job_pb2
from horde.internal.ledger.v1 import ledger_service_pb2 as api
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from horde.ledger.core.errors import ALL
from horde.ledger.core.holds import ORPHANED_DAYS
from horde.ledger.core.identifiers import settle_event_id
from horde.ledger.core.permissions import OPERATOR
from horde.services.channel import dial
from horde.services.errors import ServiceError
from horde.services.identity import Credentials
from horde.services.status import from_status
from horde.services.tls import TlsFiles

PAGE: Final = 250


async def orphans(stub: LedgerServiceStub, placed_before: datetime) -> AsyncIterator[api.OpenHold]:
    """Open holds of the days before."""
    asked = api.ListHoldsRequest(placed_before=Timestamp(seconds=int(placed_before.timestamp())), page_size=PAGE)
    while True:
        page: api.ListHoldsResponse = await stub.ListHolds(asked)
        for hold in page.holds:
            yield hold
        asked.page_token = page.next_page_token
        if not asked.page_token:
            return


async def release(stub: LedgerServiceStub, hold: api.OpenHold, reason: str) -> str:
    """Give a hold back; why it was not, if it was not."""
    operation = api.Release(hold_id=hold.hold_id, job_id=hold.job_id, ending=job_pb2.JOB_ENDING_EXPIRED, reason=reason)
    event = api.Event(event_id=settle_event_id(hold.job_id), release=operation)
    (outcome,) = (await stub.Apply(api.ApplyRequest(events=[event]))).outcomes
    return "" if outcome.HasField("entry") else str(from_status(outcome.error, ALL))


async def run(options: argparse.Namespace) -> int:
    """List, and release if told to; the exit status."""
    credentials = Credentials.from_key_file(OPERATOR, options.key_file) if options.key_file else None
    tls = None
    if options.tls_authorities is not None:
        tls = TlsFiles(options.tls_certificate, options.tls_key, options.tls_authorities)
    before = datetime.now(UTC) - timedelta(days=options.older_than_days - 1)
    reason = f"{options.reason} ({getpass.getuser()}, python -m horde.ledger.orphans)"
    found = mkudos = failed = 0
    async with dial(options.ledger, caller=credentials, errors=ALL, tls=tls) as channel:
        stub: Any = LedgerServiceStub(channel)
        async for hold in orphans(stub, before):
            found += 1
            held = hold.own_mkudos + hold.subsidised_mkudos
            why_not = await release(stub, hold, reason) if options.release else ""
            failed += bool(why_not)
            mkudos += 0 if why_not else held
            placed = hold.placed_on.ToDatetime().date()
            state = f"not released: {why_not}" if why_not else ("released" if options.release else "open")
            sys.stdout.write(
                f"{placed}  job {hold.job_id}  {hold.payer_account_id}  {held / 1000:.3f} kudos  {state}\n"
            )
    done = "released" if options.release else "are held"
    sys.stdout.write(f"{found} holds, {mkudos / 1000:.3f} kudos {done}, {failed} failed\n")
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """The process."""
    parser = argparse.ArgumentParser(
        prog="python -m horde.ledger.orphans", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ledger", default="127.0.0.1:7703", help="its address (default %(default)s)")
    parser.add_argument("--key-file", type=Path, help="the key of this run, where callers have no certificates")
    parser.add_argument("--tls-certificate", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--tls-authorities", type=Path)
    parser.add_argument(
        "--older-than-days", type=int, default=ORPHANED_DAYS, help=f"at least {ORPHANED_DAYS}, the default"
    )
    parser.add_argument("--release", action="store_true", help="give them back; without, they are only listed")
    parser.add_argument("--reason", default="", help="why, for the journal; needed to release")
    options = parser.parse_args(arguments)
    if options.older_than_days < ORPHANED_DAYS:
        parser.error(f"--older-than-days must be at least {ORPHANED_DAYS}: younger jobs may live")
    if options.release and not options.reason:
        parser.error("--release needs a --reason")
    try:
        return asyncio.run(run(options))
    except (ServiceError, OSError, ValueError) as error:
        sys.stderr.write(f"{options.ledger}: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
