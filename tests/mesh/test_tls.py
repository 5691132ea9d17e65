"""Services on different machines, as whole processes: each has a certificate, nobody a key of the run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.mesh.probing import small
from tests.service.processes import Service, environment, started

from horde.api.ledger.v1.ledger_pb2 import AccountRef, LedgerAccountKind
from horde.cli.local.mesh import free_ports
from horde.cli.local.roles import Role
from horde.clients.client import HordeClient
from horde.clients.credentials import new_anonymous_token
from horde.clients.doors import Security
from horde.internal.ledger.v1.ledger_service_pb2 import AuditRequest, GetBalancesRequest
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from horde.services import tls
from horde.services.channel import dial
from horde.services.errors import Unavailable
from horde.services.identity import CallerNotAllowed
from horde.services.lifecycle import CANNOT_START
from horde.services.tls import TlsFiles
from horde.testkit.certificates import HOUR, Authority
from horde.testkit.waiting import HANG_SECONDS, POLL_SECONDS, ticks, until

SUFFIX = ".mesh.example"
SERVICES = ("ledger", "storage-router", "scheduler", "gateway")
QUESTION = GetBalancesRequest(accounts=[AccountRef(kind=LedgerAccountKind.LEDGER_ACCOUNT_KIND_TAX_BURN)])
ROLES = {role.value: role for role in Role}


def certified(files: TlsFiles) -> dict[str, str]:
    """What every service is told where certificates say who it is."""
    return {
        "KEY_FILE": "",
        "TLS_CERTIFICATE": str(files.certificate),
        "TLS_KEY": str(files.key),
        "TLS_AUTHORITIES": str(files.authorities),
        "TLS_NAME_SUFFIX": SUFFIX,
    }


@dataclass
class Mesh:
    """Four processes, by the table of `deploy/tls.md`."""

    authority: Authority
    folder: Path
    ports: Mapping[Role, int]
    internal: int
    services: dict[str, Service]

    def address(self, service: str) -> str:
        return f"127.0.0.1:{self.ports[ROLES[service]]}"

    def settings(self, service: str) -> dict[str, str]:
        told = certified(self.authority.issue(service + SUFFIX)) | {"LISTEN": self.address(service)}
        internal = f"127.0.0.1:{self.internal}"
        match service:
            case "storage-router":
                told |= {"INTERNAL_LISTEN": internal}
            case "scheduler":
                told |= {"STORAGE_ADDRESS": self.address("storage-router")}
            case "gateway":
                told |= {
                    "STORAGE_PUBLIC_ADDRESS": self.address("storage-router"),
                    "SCHEDULER": self.address("scheduler"),
                }
        if service in ("scheduler", "gateway"):
            told |= {"LEDGER": self.address("ledger"), "STORAGE_ROUTER": internal}
        return environment(service, self.folder, **told)

    def client(self) -> HordeClient:
        security = Security(tls=TlsFiles(authorities=self.authority.file))
        return HordeClient(
            self.address("gateway"),
            credential=new_anonymous_token(),
            security=security,
            config_folder=self.folder / "c",
        )


@asynccontextmanager
async def mesh_of(folder: Path) -> AsyncIterator[Mesh]:
    ports = free_ports()
    internal = next(port for port in free_ports().values() if port not in ports.values())
    async with AsyncExitStack() as stack:
        mesh = Mesh(Authority(folder / "ours"), folder, ports, internal, {})
        for service in SERVICES:
            running = await stack.enter_async_context(started(service, mesh.settings(service)))
            mesh.services[service] = running
        for running in mesh.services.values():
            await running.until('"ports"')
        yield mesh


async def test_a_generation_passes_through_services_that_know_each_other_by_certificate(tmp_path: Path) -> None:
    async with mesh_of(tmp_path) as mesh, mesh.client() as client:
        opened = await client.accounts.create("anna")
        key = tmp_path / "worker.key"
        key.write_text(opened.api_key)
        key.chmod(0o600)
        settings = environment(
            "worker",
            tmp_path,
            API_KEY="",
            API_KEY_FILE=str(key),
            GATEWAY=mesh.address("gateway"),
            TLS_AUTHORITIES=str(mesh.authority.file),
        )
        async with started("worker", settings) as worker:
            await worker.until("attached")
            async with client.generation(small("a cat")) as session:
                pictures = [content async for _, content in session.pictures()]
    assert len(pictures) == 1
    assert pictures[0]


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[tuple[Service, str, Authority]]:
    """One service, by certificate: who it is, where it listens, whom it believes."""
    authority = Authority(tmp_path / "ours")
    settings = environment("ledger", tmp_path, **certified(authority.issue("ledger" + SUFFIX)))
    async with started("ledger", settings) as process:
        serving = json.loads(await process.until('"ports"'))
        yield process, f"127.0.0.1:{serving['ports'][0]}", authority


def lines(told: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [line for line in told if line["event"] == "no TLS with a neighbour"]


CASES = {
    "foreign": ("it refuses our certificate", "of an authority that we do not believe"),
    "expired": ("it refuses our certificate", "its certificate has expired"),
    "none": ("it wants a certificate, and we show none", "it shows no certificate"),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_certificate_that_is_not_believed_is_a_line_on_both_sides(
    case: str, ledger: tuple[Service, str, Authority], tmp_path: Path
) -> None:
    process, address, ours = ledger
    theirs = Authority(tmp_path / "theirs")
    name = "gateway" + SUFFIX
    files = {
        "foreign": replace(theirs.issue(name), authorities=ours.file),
        "expired": ours.issue(name, left=-HOUR, file="old"),
        "none": TlsFiles(authorities=ours.file),
    }[case]
    with capture_logs() as told:
        async with dial(address, caller=None, tls=files, retry=False, neighbour="ledger") as channel:
            with pytest.raises(Unavailable):
                await LedgerServiceStub(channel).Audit(AuditRequest(), timeout=HANG_SECONDS)
            await until(lambda: lines(told), "why")
    ours_says, its = CASES[case]
    (line,) = lines(told)
    assert ours_says in line["why"]
    assert line["neighbour"] == f"ledger at {address}"
    assert its in json.loads(await process.until("the TLS handshake with somebody fails"))["why"]


async def test_a_caller_says_whose_certificate_it_does_not_believe(
    ledger: tuple[Service, str, Authority], tmp_path: Path
) -> None:
    _, address, ours = ledger
    files = replace(ours.issue("gateway" + SUFFIX), authorities=Authority(tmp_path / "theirs").file)
    with capture_logs() as told:
        async with dial(address, caller=None, tls=files, retry=False, neighbour="ledger") as channel:
            with pytest.raises(Unavailable):
                await LedgerServiceStub(channel).Audit(AuditRequest(), timeout=HANG_SECONDS)
            await until(lambda: lines(told), "why")
    assert "its certificate is of an authority that we do not believe" in lines(told)[0]["why"]


@pytest.mark.parametrize(("left", "names", "words"), [
    (-HOUR, ("ledger" + SUFFIX,), "its certificate has expired"),
    (HOUR, ("gateway" + SUFFIX,), "must name ledger.mesh.example"),
])  # fmt: skip
async def test_a_service_whose_own_certificate_is_of_no_use_does_not_start(
    left: object, names: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    files = Authority(tmp_path / "ours").issue(*names, left=left)  # type: ignore[arg-type]
    async with started("ledger", environment("ledger", tmp_path, **certified(files))) as process:
        assert await process.ended() == CANNOT_START
    assert "HORDE_LEDGER_TLS_CERTIFICATE" in process.lines[-1]
    assert words in process.lines[-1]


async def test_so_does_one_whose_certificate_and_authorities_are_of_two_meshes(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    files = replace(ours.issue("ledger" + SUFFIX), authorities=theirs.file)
    async with started("ledger", environment("ledger", tmp_path, **certified(files))) as process:
        assert await process.ended() == CANNOT_START
    assert "of an authority that we do not believe" in process.lines[-1]


async def test_the_allow_list_goes_by_the_certificates_name(ledger: tuple[Service, str, Authority]) -> None:
    _, address, ours = ledger
    for service, allowed in (("scheduler", True), ("storage-router", False)):
        files = ours.issue(service + SUFFIX)
        async with dial(address, caller=None, tls=files, errors=(CallerNotAllowed,)) as channel:
            if allowed:
                await LedgerServiceStub(channel).GetBalances(QUESTION)
            else:
                with pytest.raises(CallerNotAllowed):
                    await LedgerServiceStub(channel).GetBalances(QUESTION)


async def test_a_running_service_shows_its_new_certificate_to_the_next_caller(
    ledger: tuple[Service, str, Authority],
) -> None:
    process, address, ours = ledger
    ours.issue("ledger" + SUFFIX, "more" + SUFFIX)
    shown = asyncio.create_task(process.until("more" + SUFFIX))
    for _ in ticks():
        # Each caller is shown what the files hold, once they have been looked at again.
        async with dial(address, caller=None, tls=ours.issue("scheduler" + SUFFIX)) as channel:
            await LedgerServiceStub(channel).GetBalances(QUESTION)
        if shown.done():
            break
        await asyncio.sleep(POLL_SECONDS)
    assert '"certificate"' in await shown


async def test_a_caller_shows_its_new_certificate_without_a_restart(
    ledger: tuple[Service, str, Authority], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.0)
    _, address, ours = ledger
    files = ours.issue("storage-router" + SUFFIX, file="mine")
    async with dial(address, caller=None, tls=files, errors=(CallerNotAllowed,)) as channel:
        stub = LedgerServiceStub(channel)
        with pytest.raises(CallerNotAllowed):
            await stub.GetBalances(QUESTION)
        ours.issue("scheduler" + SUFFIX, file="mine")
        await stub.GetBalances(QUESTION)
        # Half of a change is none: what was good is shown on.
        assert files.certificate is not None
        files.certificate.unlink()
        await stub.GetBalances(QUESTION)
