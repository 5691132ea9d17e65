"""What a mesh says of itself to anybody: what it is, and what it does. Over a real socket."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as generation_service
from horde.api.job.v1 import job_pb2
from horde.api.mesh.v1 import mesh_pb2
from horde.api.mesh.v1 import mesh_service_pb2 as pb
from horde.api.model.v1 import model_service_pb2 as model_pb2
from horde.api.statistics.v1 import statistics_service_pb2 as statistics_pb2
from horde.api.worker.v1 import worker_pb2
from horde.gateway.core.consent import UnpublishedText, consent_text
from horde.gateway.settings import GatewaySettings
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_service
from horde.services.errors import InvalidArgument, ResourceExhausted, Unauthenticated, Unavailable
from horde.services.lifecycle import CannotStart
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import ManualClock, assert_raises_reason, fields_of

Spec = Callable[..., generation_pb2.GenerationSpec]
Credentials = list[tuple[str, str]]
PUBLISHED = Path(__file__).parents[3] / "protos" / "consent"


async def test_a_mesh_says_what_it_is_to_anybody(tmp_path: Path, nobody: Credentials, spec: Spec) -> None:
    settings: dict[str, Any] = {"mesh_name": "Fox", "support_url": "https://fox.example", "registration_open": False}
    async with bench(tmp_path, **settings) as mesh:
        told = await mesh.meshes.GetMesh(pb.GetMeshRequest())
        assert told == await mesh.meshes.GetMesh(pb.GetMeshRequest(), metadata=nobody)
        assert (told.name, told.support_url, told.registration_open) == ("Fox", "https://fox.example", False)
        assert told.revision == mesh_pb2.CONTRACT_REVISION_1
        assert list(told.kinds) == [job_pb2.JOB_KIND_IMAGE]
        assert told.anonymous_allowed
        assert told.max_input_bytes == mesh.settings.max_input_bytes
        assert told.storage_address == mesh.settings.storage_router
        assert told.default_time_to_live.seconds == 20 * 60
        assert told.default_keep_for.seconds == 24 * 3600
        # What a requester agrees to is what was published, and what a quote names.
        assert told.consent.text.encode() == (PUBLISHED / f"{told.consent.version}.md").read_bytes()
        assert told.consent.sha256 == hashlib.sha256(told.consent.text.encode()).digest()
        asked = generation_service.QuoteGenerationRequest(spec=spec())
        quote = (await mesh.generations.QuoteGeneration(asked, metadata=nobody)).quote
        assert quote.facts.consent_text_version == told.consent.version


async def test_a_consent_text_that_was_never_published_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="2020-01"):
        async with bench(tmp_path, consent_text_version="2020-01"):
            pass


def test_a_version_is_bound_to_the_digest_of_its_text() -> None:
    version = GatewaySettings.model_fields["consent_text_version"].default
    content, sums = (PUBLISHED / f"{version}.md").read_bytes(), (PUBLISHED / "SHA256SUMS").read_text()
    assert consent_text(version, content, sums).text.encode() == content
    with pytest.raises(UnpublishedText):
        consent_text(version, content + b" and your house", sums)


@pytest.mark.parametrize("service", ["meshes", "models", "statistics", "workers"])
async def test_who_shows_a_wrong_key_is_told_so_though_none_is_needed(mesh: Bench, service: str) -> None:
    call, request = {
        "meshes": ("GetMesh", pb.GetMeshRequest()),
        "models": ("ListModels", model_pb2.ListModelsRequest()),
        "statistics": ("GetTotals", statistics_pb2.GetTotalsRequest()),
        "workers": ("ListWorkers", None),
    }[service]
    if request is None:
        from horde.api.worker.v1 import worker_service_pb2

        request = worker_service_pb2.ListWorkersRequest()
    await getattr(getattr(mesh, service), call)(request)
    with assert_raises_reason(Unauthenticated, "CREDENTIALS_MALFORMED"):
        await getattr(getattr(mesh, service), call)(request, metadata=[("authorization", "Fox")])


async def test_who_shows_no_key_is_counted_by_where_the_call_comes_from(tmp_path: Path) -> None:
    async with bench(tmp_path, limit_address_calls="3/60s") as mesh:
        for _ in range(3):
            await mesh.meshes.GetMesh(pb.GetMeshRequest())
        with assert_raises_reason(ResourceExhausted, "RATE_LIMITED"):
            await mesh.meshes.GetMesh(pb.GetMeshRequest())


def said(jobs: int, **models: int) -> ledger_service.GetStatisticsResponse:
    return ledger_service.GetStatisticsResponse(
        jobs_settled=jobs,
        jobs_released=jobs // 10,
        minted_mkudos=jobs * 100,
        burned_mkudos=jobs * 3,
        subsidised_mkudos=jobs * 2,
        models=[ledger_service.ModelTotal(model=name, jobs=count) for name, count in models.items()],
        leaders=[
            ledger_service.OwnerTotal(account_id=f"secret {rank}", jobs=100 - rank, earned_mkudos=1_000 - rank)
            for rank in range(100)
        ],
    )


async def test_totals_are_those_of_the_ledger_also_of_a_gateway_that_has_just_begun(tmp_path: Path) -> None:
    async with bench(tmp_path) as mesh:
        said_so = said(1_050, paintbox=950, rare=100)
        for share, name in enumerate(("minute", "hour", "day", "month"), start=1):
            of_late = getattr(said_so, name)
            of_late.jobs_settled, of_late.jobs_released, of_late.minted_mkudos = share, 10 * share, 100 * share
        said_so.models[0].day_jobs, said_so.models[0].month_jobs = 7, 70
        mesh.ledger.statistics = said_so
        totals = await mesh.statistics.GetTotals(statistics_pb2.GetTotalsRequest())
        late = [totals.minute, totals.hour, totals.day, totals.month]
        assert [(each.images_done, each.images_failed, each.minted_mkudos) for each in late] == [
            (share, 10 * share, 100 * share) for share in (1, 2, 3, 4)
        ]
        ever = totals.ever
        assert (ever.images_done, ever.images_failed, ever.minted_mkudos) == (1_050, 105, 105_000)
        assert (ever.burned_mkudos, ever.subsidised_mkudos) == (3_150, 2_100)
        models = await mesh.statistics.ListModelTotals(statistics_pb2.ListModelTotalsRequest(page_size=1))
        assert [(model.model, model.day, model.month, model.ever) for model in models.models] == [
            ("paintbox", 7, 70, 950)
        ]
        rest = await mesh.statistics.ListModelTotals(
            statistics_pb2.ListModelTotalsRequest(page_token=models.next_page_token)
        )
        assert [model.model for model in rest.models] == ["rare"]
        assert not rest.next_page_token


async def test_leaders_are_named_by_the_public_name_that_they_chose_and_by_nothing_else(
    mesh: Bench, anna: Credentials, bert: Credentials
) -> None:
    owners = [
        (await mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=who)).account for who in (anna, bert)
    ]
    await mesh.accounts.UpdateAccount(
        account_pb2.UpdateAccountRequest(
            account=account_pb2.Account(public=True), update_mask=FieldMask(paths=["public"])
        ),
        metadata=anna,
    )
    mesh.ledger.statistics.CopyFrom(
        ledger_service.GetStatisticsResponse(
            leaders=[ledger_service.OwnerTotal(account_id=owner.account_id, jobs=1) for owner in owners]
        )
    )
    mesh.gateway.statistics._seen = None
    answer = await mesh.statistics.ListLeaders(statistics_pb2.ListLeadersRequest())
    assert [leader.display_name for leader in answer.leaders] == ["Anna", ""]


async def test_leaders_whom_nobody_knows_are_named_by_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as mesh:
        mesh.ledger.statistics = said(1)
        mesh.gateway.statistics._seen = None
        for size, count in ((0, 10), (3, 3), (1_000, 100)):
            answer = await mesh.statistics.ListLeaders(statistics_pb2.ListLeadersRequest(page_size=size))
            assert [leader.images_done for leader in answer.leaders] == [100 - rank for rank in range(count)]
            assert "secret" not in str(answer)


async def test_performance_sums_models_and_workers(mesh: Bench) -> None:
    for number, state in enumerate((worker_pb2.WORKER_STATE_READY, worker_pb2.WORKER_STATE_BUSY) * 2):
        mesh.scheduler.workers[str(number)] = worker_pb2.Worker(state=state)
    mesh.scheduler.workers["x"] = worker_pb2.Worker(state=worker_pb2.WORKER_STATE_PAUSED)
    for name in ("a", "b"):
        mesh.scheduler.models[name] = model_pb2.Model(
            name=name, jobs_queued=2, jobs_leased=1, queued_milli_megapixel_steps=500
        )
    mesh.scheduler.waits.p50.FromMilliseconds(1_500)
    mesh.scheduler.waits.p90.FromMilliseconds(9_000)
    mesh.ledger.statistics.minute.milli_megapixel_steps = 7_000
    answer = await mesh.statistics.GetPerformance(statistics_pb2.GetPerformanceRequest())
    assert answer == statistics_pb2.GetPerformanceResponse(
        milli_megapixel_steps_last_minute=7_000,
        wait_p50=mesh.scheduler.waits.p50,
        wait_p90=mesh.scheduler.waits.p90,
        jobs_queued=4,
        jobs_leased=2,
        queued_milli_megapixel_steps=1_000,
        workers_ready=2,
        workers_busy=2,
        workers_paused=1,
    )


@pytest.mark.parametrize(
    ("method", "request_", "fields"),
    [
        ("ListModelTotals", statistics_pb2.ListModelTotalsRequest(page_size=-1), ["page_size"]),
        ("ListModelTotals", statistics_pb2.ListModelTotalsRequest(page_token="Zm94"), ["page_token"]),
        ("ListModelTotals", statistics_pb2.ListModelTotalsRequest(page_token="!"), ["page_token"]),
        ("ListLeaders", statistics_pb2.ListLeadersRequest(page_size=-1), ["page_size"]),
    ],
)
async def test_a_bad_question_is_refused(mesh: Bench, method: str, request_: Any, fields: list[str]) -> None:
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await getattr(mesh.statistics, method)(request_)
    assert caught.value.domain == "horde.api.statistics.v1"
    assert fields_of(caught.value) == fields


async def test_a_ledger_that_is_away_takes_no_more_than_the_statistics(tmp_path: Path, nobody: Credentials) -> None:
    clock = ManualClock()
    async with bench(tmp_path, clock=clock) as mesh:
        mesh.ledger.away = True
        await clock.advance(20.0)
        with pytest.raises(Unavailable):
            await mesh.statistics.GetTotals(statistics_pb2.GetTotalsRequest())
        await mesh.statistics.GetPerformance(statistics_pb2.GetPerformanceRequest())
        await mesh.meshes.GetMesh(pb.GetMeshRequest(), metadata=nobody)
        mesh.ledger.away = False
        await mesh.statistics.GetTotals(statistics_pb2.GetTotalsRequest())
