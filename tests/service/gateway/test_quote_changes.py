"""A quote says what would begin sooner or cost less, priced and estimated like what was asked for."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.duration_pb2 import Duration

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.job.v1 import job_pb2
from horde.api.model.v1 import model_service_pb2
from horde.testkit.gateway import Bench

Spec = Callable[..., generation_pb2.GenerationSpec]
Credentials = list[tuple[str, str]]
KIND = generation_pb2.QuoteChangeKind


def _wait(seconds: int) -> generation_pb2.WaitEstimate:
    return generation_pb2.WaitEstimate(eligible_workers=1, p50=Duration(seconds=seconds), p90=Duration(seconds=seconds))


async def _changes(
    mesh: Bench, who: Credentials, spec: generation_pb2.GenerationSpec
) -> list[generation_pb2.QuoteChange]:
    answer = await mesh.generations.QuoteGeneration(pb.QuoteGenerationRequest(spec=spec), metadata=who)
    return list(answer.quote.changes)


async def test_what_begins_sooner_comes_first_and_each_change_is_priced_as_a_quote_of_its_own(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    asked = spec({"steps": 30}, fast_workers_only=True)
    for name in (asked.job.model, "quick", "slow"):
        mesh.scheduler.models[name] = model_service_pb2.Model(
            name=name, kind=job_pb2.JOB_KIND_IMAGE, workers=1, wait=_wait({"quick": 1, "slow": 500}.get(name, 100))
        )

    def wait_of(spec: generation_pb2.GenerationSpec) -> generation_pb2.WaitEstimate:
        if spec.job.model != asked.job.model:
            return mesh.scheduler.models[spec.job.model].wait
        return _wait(100 if spec.fast_workers_only else 30)

    mesh.scheduler.wait_of = wait_of
    changes = await _changes(mesh, anna, asked)
    assert [change.kind for change in changes[:2]] == [
        KIND.QUOTE_CHANGE_KIND_OTHER_MODEL,
        KIND.QUOTE_CHANGE_KIND_ALLOW_SLOW_WORKERS,
    ]
    assert [change.value for change in changes if change.kind == KIND.QUOTE_CHANGE_KIND_OTHER_MODEL] == ["quick"]
    by_kind = {change.kind: change for change in changes}
    assert by_kind[KIND.QUOTE_CHANGE_KIND_FEWER_STEPS].value == "20"
    assert by_kind[KIND.QUOTE_CHANGE_KIND_SHARE].wait.p50.seconds == 100
    slow = spec({"steps": 30})
    own = await mesh.generations.QuoteGeneration(pb.QuoteGenerationRequest(spec=slow), metadata=anna)
    assert by_kind[KIND.QUOTE_CHANGE_KIND_ALLOW_SLOW_WORKERS].total_mkudos == own.quote.total_mkudos
    assert not mesh.scheduler.submissions


async def test_what_begins_at_once_is_only_made_cheaper(mesh: Bench, nobody: Credentials, spec: Spec) -> None:
    mesh.scheduler.models["other"] = model_service_pb2.Model(name="other", kind=job_pb2.JOB_KIND_IMAGE, workers=9)
    asked = spec()
    mesh.scheduler.models[asked.job.model] = model_service_pb2.Model(name=asked.job.model, workers=1)
    kinds = {change.kind for change in await _changes(mesh, nobody, asked)}
    # Anonymous is shared already, and no worker is left out.
    assert kinds <= {KIND.QUOTE_CHANGE_KIND_SMALLER, KIND.QUOTE_CHANGE_KIND_FEWER_STEPS}
    assert kinds


async def test_a_scheduler_that_is_away_costs_a_quote_nothing(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    mesh.scheduler.away = True
    assert await _changes(mesh, anna, spec()) == []


async def test_of_smaller_sizes_the_largest_is_proposed_that_somebody_here_can_paint(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    def wait_of(spec: generation_pb2.GenerationSpec) -> generation_pb2.WaitEstimate:
        image = spec.job.image
        return _wait(1) if image.width * image.height <= 512 * 512 else generation_pb2.WaitEstimate()

    mesh.scheduler.wait_of = wait_of
    (change,) = await _changes(mesh, anna, spec({"width": 1024, "height": 1024}))
    assert (change.kind, change.value) == (KIND.QUOTE_CHANGE_KIND_SMALLER, "448x448")
    assert change.wait.eligible_workers == 1


async def test_what_nobody_here_can_paint_is_not_proposed(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    mesh.scheduler.wait = generation_pb2.WaitEstimate()
    assert await _changes(mesh, anna, spec()) == []
