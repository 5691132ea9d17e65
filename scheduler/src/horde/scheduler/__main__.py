"""Run the scheduler: `python -m horde.scheduler`."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from horde.api.scheduler.v1.scheduler_service_pb2_grpc import add_SchedulerServiceServicer_to_server
from horde.scheduler.board import Limits
from horde.scheduler.engine import leading
from horde.scheduler.grants import Grants
from horde.scheduler.janitor import sweeping
from horde.scheduler.ledger_client import GrpcLedger
from horde.scheduler.reading import Reading
from horde.scheduler.servicer import SERVICE, Servicer
from horde.scheduler.settings import Settings
from horde.scheduler.storage_client import GrpcStorage
from horde.scheduler.store_sql import sql_store
from horde.services import failpoints, lifecycle
from horde.services.channel import dial
from horde.services.clock import SystemClock
from horde.services.identity import AllowList, Credentials, PeerCertificate, SharedKey
from horde.services.ids import RandomIds
from horde.services.server import Listener, Registration, serving
from horde.services.settings import load_or_exit
from horde.services.telemetry import configure_logs, telemetry
from horde.services.tokens import KeyRing, Signer, Verifier

ALLOW = AllowList({f"/{SERVICE}/*": {"gateway"}})
TIMEOUT = timedelta(seconds=20)
"""For a batch of a neighbour's work; it is repeated, whatever came of it."""
