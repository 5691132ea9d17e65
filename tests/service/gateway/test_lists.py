"""Models that nobody knows, lists with filters, and masks: over a real socket."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.job.v1 import job_pb2
from horde.api.model.v1 import model_service_pb2 as model_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as worker_service
from horde.gateway.doors.catalogue import read_catalogue
from horde.services.errors import NotFound
from horde.services.lifecycle import CannotStart
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import assert_raises_reason

Spec = Callable[..., generation_pb2.GenerationSpec]
Credentials = list[tuple[str, str]]

CATALOGUE = """{"models": [
    {"name": "Watercolour", "kind": "JOB_KIND_IMAGE", "workers": 9,
     "catalogue": {"baseline": "sdxl", "aliases": ["wet paint"]}},
    {"name": "paintbox", "catalogue": {"description": "small pictures"}}
]}"""


def offer(mesh: Bench, *names: str) -> None:
    for name in names:
        mesh.scheduler.models[name] = model_pb2.Model(name=name, workers=1, kind=job_pb2.JOB_KIND_IMAGE)


def of_model(spec: generation_pb2.GenerationSpec, name: str, **fields: Any) -> generation_pb2.GenerationSpec:
    spec.job.model = name
    spec.MergeFrom(generation_pb2.GenerationSpec(**fields))
    return spec


def create(spec: generation_pb2.GenerationSpec, request_id: str = "") -> pb.CreateGenerationRequest:
    return pb.CreateGenerationRequest(request_id=request_id or str(uuid.uuid4()), spec=spec)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Paintbux", "paintbox"), ("PAINTBOX", "paintbox"), ("zzz", ""), ("fox 3", "fox 2,fox 1")],
)
async def test_a_mistyped_model_is_refused_before_anything_is_held(
    name: str, meant: str, mesh: Bench, anna: Credentials, nobody: Credentials, spec: Spec
) -> None:
    offer(mesh, "paintbox", "paintbox xl", "fox 1", "fox 2")
    metadata = {"model": name, "did_you_mean": meant}
    for who in (anna, nobody):
        with assert_raises_reason(NotFound, "MODEL_UNKNOWN", metadata):
            await mesh.generations.QuoteGeneration(pb.QuoteGenerationRequest(spec=of_model(spec(), name)), metadata=who)
        with assert_raises_reason(NotFound, "MODEL_UNKNOWN", metadata):
            await mesh.generations.CreateGeneration(create(of_model(spec(), name)), metadata=who)
    assert not mesh.scheduler.submissions


async def test_who_says_so_waits_for_a_model_that_nobody_has(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    offer(mesh, "paintbox")
    asked = create(of_model(spec(), "Paintbux", wait_for_model=True))
    made = await mesh.generations.CreateGeneration(asked, metadata=anna)
    assert made.generation.spec.wait_for_model


async def test_a_model_of_a_worker_that_was_here_lately_is_known(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    offer(mesh, "paintbox")
    mesh.scheduler.lately["resting"] = model_pb2.Model(name="resting")
    await mesh.generations.CreateGeneration(create(of_model(spec(), "resting")), metadata=anna)


async def test_a_mesh_without_any_model_takes_whatever_is_named(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    await mesh.generations.CreateGeneration(create(of_model(spec(), "tomorrow")), metadata=anna)
    assert len(mesh.scheduler.submissions) == 1


async def test_a_worker_that_attached_this_moment_is_heard_of(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    offer(mesh, "paintbox")
    with assert_raises_reason(NotFound, "MODEL_UNKNOWN", {"model": "late", "did_you_mean": ""}):
        await mesh.generations.CreateGeneration(create(of_model(spec(), "late")), metadata=anna)
    offer(mesh, "late")
    await mesh.generations.CreateGeneration(create(of_model(spec(), "late")), metadata=anna)


async def test_what_was_accepted_once_is_answered_though_its_model_is_gone(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    offer(mesh, "paintbox", "rare")
    asked = create(of_model(spec(), "rare"))
    first = await mesh.generations.CreateGeneration(asked, metadata=anna)
    del mesh.scheduler.models["rare"]
    mesh.gateway.catalogue._known.clear()
    again = await mesh.generations.CreateGeneration(asked, metadata=anna)
    assert again.generation.generation_id == first.generation.generation_id
    with assert_raises_reason(NotFound, "MODEL_UNKNOWN", {"model": "rare", "did_you_mean": ""}):
        await mesh.generations.CreateGeneration(create(of_model(spec(), "rare")), metadata=anna)


async def test_a_known_model_is_not_asked_about_each_time(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    offer(mesh, "paintbox")
    for _ in range(5):
        await mesh.generations.CreateGeneration(create(spec()), metadata=anna)
    assert len(mesh.scheduler.model_questions) == 1


async def test_the_operators_catalogue_is_known_and_shown(tmp_path: Path, nobody: Credentials, spec: Spec) -> None:
    file = tmp_path / "catalogue.json"
    file.write_text(CATALOGUE)
    async with bench(tmp_path, catalogue_file=file) as mesh:
        offer(mesh, "paintbox", "unlisted")
        await mesh.generations.CreateGeneration(create(of_model(spec(), "Watercolour")), metadata=nobody)
        with assert_raises_reason(NotFound, "MODEL_UNKNOWN", {"model": "wet pain", "did_you_mean": "Watercolour"}):
            await mesh.generations.CreateGeneration(create(of_model(spec(), "wet pain")), metadata=nobody)
        models = (await mesh.models.ListModels(model_pb2.ListModelsRequest())).models
        assert [(model.name, model.workers, model.HasField("catalogue")) for model in models] == [
            ("Watercolour", 0, True),
            ("paintbox", 1, True),
            ("unlisted", 1, False),
        ]
        request = model_pb2.GetModelRequest(name="Watercolour")
        assert (await mesh.models.GetModel(request)).model.catalogue.baseline == "sdxl"


@pytest.mark.parametrize("text", ["", "[1]", '{"models": [{"name": "../x"}]}', '{"fox": 1}'])
def test_a_catalogue_that_is_none_stops_the_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "catalogue.json"
    file.write_text(text)
    with pytest.raises(CannotStart):
        read_catalogue(file)


async def test_an_unknown_model_is_not_found_and_the_nearest_are_named(mesh: Bench) -> None:
    offer(mesh, "paintbox")
    with assert_raises_reason(NotFound, "MODEL_NOT_FOUND", {"name": "paintbux", "did_you_mean": "paintbox"}):
        await mesh.models.GetModel(model_pb2.GetModelRequest(name="paintbux"))


async def test_models_are_listed_by_filter_and_page(mesh: Bench) -> None:
    offer(mesh, *(f"model {number:03}" for number in range(600)))
    mesh.scheduler.models["wanted"] = model_pb2.Model(name="wanted", jobs_queued=3)

    async def names(**fields: Any) -> list[str]:
        found: list[str] = []
        request = model_pb2.ListModelsRequest(**fields)
        while True:
            page = await mesh.models.ListModels(request)
            assert len(page.models) <= 500
            found += [model.name for model in page.models]
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    assert len(await names(page_size=10_000)) == 601
    assert await names() == sorted(mesh.scheduler.models)
    assert await names(name_contains="MODEL 00", page_size=3) == [f"model {number:03}" for number in range(10)]
    assert "wanted" not in await names(available=True)
    assert len(await names(kind=job_pb2.JOB_KIND_IMAGE)) == 600
    assert await names(kind=job_pb2.JOB_KIND_TEXT) == []


async def test_the_filters_of_lists_reach_who_holds_the_lists(mesh: Bench, anna: Credentials) -> None:
    asked = pb.ListGenerationsRequest(
        page_size=500,
        finished=False,
        model="paintbox",
        placement=job_pb2.PLACEMENT_SHARED,
        accepted_after=Timestamp(seconds=1_793_000_000),
        accepted_before=Timestamp(seconds=1_793_000_001),
        request_id_prefix="ab",
        ending=job_pb2.JOB_ENDING_DONE,
    )
    await mesh.generations.ListGenerations(asked, metadata=anna)
    question = mesh.scheduler.list_questions[-1]
    assert question.filters == asked
    assert question.page_size == 100
    workers = worker_service.ListWorkersRequest(
        model="paintbox", state=worker_pb2.WORKER_STATE_READY, name_contains="x", page_size=101
    )
    await mesh.workers.ListWorkers(workers)
    question = mesh.scheduler.list_questions[-1]
    assert question.filters == workers
    assert question.page_size == 100


async def test_a_mask_says_what_is_shown(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    made = (await mesh.generations.CreateGeneration(create(spec()), metadata=anna)).generation
    mask = FieldMask(paths=["generation_id", "spec.job.model", "quote.total_mkudos"])
    wanted = generation_pb2.Generation(generation_id=made.generation_id)
    wanted.spec.job.model, wanted.quote.total_mkudos = "paintbox", made.quote.total_mkudos
    listed = await mesh.generations.ListGenerations(pb.ListGenerationsRequest(read_mask=mask), metadata=anna)
    assert list(listed.generations) == [wanted]
    request = pb.GetGenerationRequest(generation_id=made.generation_id, read_mask=mask)
    assert (await mesh.generations.GetGeneration(request, metadata=anna)).generation == wanted
    request.ClearField("read_mask")
    whole = (await mesh.generations.GetGeneration(request, metadata=anna)).generation
    assert whole.images
    assert whole.spec == made.spec


async def test_a_worker_is_shown_as_far_as_who_asks_may_see_it(
    mesh: Bench, anna: Credentials, bert: Credentials, nobody: Credentials
) -> None:
    from horde.api.account.v1 import account_service_pb2 as account_pb2

    owner = (await mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=anna)).account.account_id
    worker_id = str(uuid.uuid4())
    mesh.scheduler.workers[worker_id] = worker_pb2.Worker(
        worker_id=worker_id, owner_account_id=owner, max_slots=3, hindrances=[worker_pb2.WorkerHindrance(model="x")]
    )
    for who, owner_seen, slots in ((anna, owner, 3), (bert, owner, 0), (nobody, "", 0), ([], "", 0)):
        listed = await mesh.workers.ListWorkers(worker_service.ListWorkersRequest(), metadata=who)
        got = await mesh.workers.GetWorker(worker_service.GetWorkerRequest(worker_id=worker_id), metadata=who)
        for worker in (listed.workers[0], got.worker):
            assert (worker.owner_account_id, worker.max_slots, len(worker.hindrances)) == (
                owner_seen,
                slots,
                1 if slots else 0,
            )
