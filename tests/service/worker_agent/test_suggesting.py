"""`horde worker models suggest`: what the mesh has work for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from horde.api.model.v1.model_service_pb2 import (
    GetModelRequest,
    GetModelResponse,
    ListModelsRequest,
    ListModelsResponse,
    Model,
)
from horde.api.model.v1.model_service_pb2_grpc import ModelServiceServicer, add_ModelServiceServicer_to_server
from horde.services.errors import Unimplemented
from horde.services.server import Registration
from horde.testkit.loopback import loopback
from horde.worker_agent import stocking
from horde.worker_agent.core.suggesting import Demand, lines

MODELS = "horde.api.model.v1.ModelService"


async def test_what_is_asked_for_is_suggested_the_best_paid_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {
        "": ListModelsResponse(
            models=[Model(name="idle", workers=3), Model(name="new", jobs_queued=9)], next_page_token="more"
        ),
        "more": ListModelsResponse(
            models=[
                Model(name="sdxl", jobs_queued=4, workers=2, mkudos_an_hour=12_500),
                Model(name="paintbox", jobs_queued=40, workers=1, mkudos_an_hour=900),
                Model(name="\x1b[31mred", jobs_queued=1),
            ]
        ),
    }

    class Models(ModelServiceServicer):
        async def ListModels(self, request: ListModelsRequest, context: Any) -> ListModelsResponse:
            return pages[request.page_token]

        async def GetModel(self, request: GetModelRequest, context: Any) -> GetModelResponse:
            raise Unimplemented

    monkeypatch.setenv("HORDE_WORKER_API_KEY", "x")
    async with loopback([Registration(add_ModelServiceServicer_to_server, Models(), MODELS)], caller=None) as server:
        words = ["suggest", "--gateway", server.target, "--state-dir", str(tmp_path), "--name", "anna"]
        assert await asyncio.to_thread(stocking.main, words) == 0
    assert capsys.readouterr().out.splitlines() == [
        "sdxl                     12.500 kudos an hour; 4 waiting, 2 painting with it",
        "paintbox                 0.900 kudos an hour; 40 waiting, 1 painting with it, here already",
        "new                      speed not measured yet; 9 waiting, 0 painting with it",
        "red                      speed not measured yet; 1 waiting, 0 painting with it",
    ]


def test_without_demand_or_a_mesh_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(lines([Demand("idle", 0, 3, 0)])) == [
        "nothing waits for any model now: ask again when the mesh is busy"
    ]
    monkeypatch.setenv("HORDE_WORKER_API_KEY", "x")
    assert stocking.main(["suggest", "--gateway", "127.0.0.1:1", "--state-dir", str(tmp_path), "--name", "a"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
