"""Prompt filters: moderators make rules, and whoever asks is told which one a prompt meets."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as generation_service
from horde.api.moderation.v1 import moderation_service_pb2 as pb
from horde.gateway.doors.filtering import POLL_SECONDS
from horde.gateway.store.memory import MemoryIdentityStore
from horde.services.errors import AlreadyExists, InvalidArgument, PermissionDenied
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import ManualClock, assert_raises_reason, fields_of
from horde.testkit.waiting import until_told

Credentials = list[tuple[str, str]]
Spec = Callable[..., generation_pb2.GenerationSpec]


def rule(pattern: str, *, kind: Any = pb.FILTER_KIND_NORMALISED_TEXT) -> pb.CreateFilterRequest:
    return pb.CreateFilterRequest(
        request_id=str(uuid.uuid4()), kind=kind, pattern=pattern, message="Not here.", note="asked for by Anna"
    )


async def added(mesh: Bench, request: pb.CreateFilterRequest) -> pb.Filter:
    made: pb.Filter = (await mesh.moderation.CreateFilter(request, metadata=mesh.operator)).filter
    return made


def creating(mesh: Bench, who: Credentials, spec: generation_pb2.GenerationSpec, request_id: str = "") -> Any:
    request = generation_service.CreateGenerationRequest(request_id=request_id or str(uuid.uuid4()), spec=spec)
    return mesh.generations.CreateGeneration(request, metadata=who)


async def test_a_prompt_that_meets_a_rule_is_refused_by_its_name_and_others_are_not(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    known = str(uuid.uuid4())
    before = await creating(mesh, anna, spec({"prompt": "a blue dragon"}), known)
    text = await added(mesh, rule("blue dragon"))
    expression = await added(mesh, rule(r"\bfox(es)?\b", kind=pb.FILTER_KIND_EXPRESSION))
    for prompt, met in (("the BLUE drаgon", text), ("b\u200blue dragon", text), ("two Foxes", expression)):
        refusal = {"field": "spec.job.image.prompt", "rule": met.filter_id, "message": "Not here."}
        with assert_raises_reason(PermissionDenied, "PROMPT_REFUSED", refusal):
            await creating(mesh, anna, spec({"prompt": prompt}))
        quoted = generation_service.QuoteGenerationRequest(spec=spec({"prompt": prompt}))
        with assert_raises_reason(PermissionDenied, "PROMPT_REFUSED", refusal):
            await mesh.generations.QuoteGeneration(quoted, metadata=anna)
    await creating(mesh, anna, spec({"prompt": "a blue bird", "negative_prompt": "blue dragon"}))
    # What was accepted once stays accepted.
    again = await creating(mesh, anna, spec({"prompt": "a blue dragon"}), known)
    assert again.generation.generation_id == before.generation.generation_id
    assert len(mesh.scheduler.submissions) == 3


async def test_rules_are_listed_tested_and_ended_by_moderators_alone(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    made = [await added(mesh, rule(f"word number {number}")) for number in range(3)]
    first = await mesh.moderation.ListFilters(pb.ListFiltersRequest(page_size=2), metadata=mesh.operator)
    rest = pb.ListFiltersRequest(page_size=2, page_token=first.next_page_token)
    second = await mesh.moderation.ListFilters(rest, metadata=mesh.operator)
    assert [filter_.filter_id for filter_ in (*first.filters, *second.filters)] == [
        filter_.filter_id for filter_ in made
    ]
    tested = await mesh.moderation.TestFilters(pb.TestFiltersRequest(prompt="Word-Number 1"), metadata=mesh.operator)
    assert [filter_.pattern for filter_ in tested.filters] == ["word number 1"]
    for _ in range(2):
        gone = pb.DeleteFilterRequest(filter_id=made[1].filter_id)
        await mesh.moderation.DeleteFilter(gone, metadata=mesh.operator)
    await creating(mesh, anna, spec({"prompt": "word number 1"}))
    for call, request in (
        (mesh.moderation.ListFilters, pb.ListFiltersRequest()),
        (mesh.moderation.CreateFilter, rule("x")),
        (mesh.moderation.DeleteFilter, pb.DeleteFilterRequest(filter_id=made[0].filter_id)),
        (mesh.moderation.TestFilters, pb.TestFiltersRequest(prompt="x")),
    ):
        with assert_raises_reason(PermissionDenied, "ROLE_MISSING"):
            await call(request, metadata=anna)


@pytest.mark.parametrize("pattern", ["(", "(?=ahead)", "((a{100}){100}){100}", ""])
async def test_an_expression_that_cannot_be_is_refused(mesh: Bench, pattern: str) -> None:
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await added(mesh, rule(pattern, kind=pb.FILTER_KIND_EXPRESSION))
    assert "pattern" in fields_of(caught.value)


async def test_a_request_id_is_of_one_rule(mesh: Bench) -> None:
    request = rule("one")
    assert await added(mesh, request) == await added(mesh, request)
    request.message = "another"
    with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": "message"}):
        await added(mesh, request)


async def test_another_gateway_holds_prompts_against_a_new_rule_within_five_seconds(
    tmp_path: Path, nobody: Credentials, spec: Spec
) -> None:
    store = MemoryIdentityStore()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        # Gateways of one database have one pepper.
        (tmp_path / name / "pepper").write_text("ab" * 32)
        (tmp_path / name / "pepper").chmod(0o600)
    clock = ManualClock()
    async with bench(tmp_path / "one", store=store) as mesh, bench(tmp_path / "two", store=store, clock=clock) as other:
        await added(mesh, rule("purple"))

        async def heard() -> bool:
            # Again and again, for it may not have begun to wait for its next look.
            await clock.advance(POLL_SECONDS)
            return len(other.gateway.filters._rules) == 1

        await until_told(heard)
        with assert_raises_reason(PermissionDenied, "PROMPT_REFUSED"):
            await creating(other, nobody, spec({"prompt": "purple rain"}))
