"""An attacker of a whole mesh: somebody with channels and free accounts, who counts how he is answered."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from grpc import StatusCode, aio

from horde.api.account.v1 import account_service_pb2 as account
from horde.api.account.v1.account_service_pb2_grpc import AccountServiceStub
from horde.api.generation.v1 import generation_service_pb2 as generation
from horde.api.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from horde.api.mesh.v1.mesh_service_pb2_grpc import MeshServiceStub
from horde.api.model.v1 import model_service_pb2 as models
from horde.api.model.v1.model_service_pb2_grpc import ModelServiceStub
from horde.api.worker.v1.worker_service_pb2_grpc import WorkerServiceStub
from horde.clients.credentials import new_api_key

Metadata = list[tuple[str, str]]
NOBODY_HAS = "a-model-that-nobody-has"


def new_stubs(target: str) -> tuple[aio.Channel, Any, Any, Any, Any]:
    """A channel of its own, and what is called on it."""
    channel = aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
    return (
        channel,
        AccountServiceStub(channel),
        GenerationServiceStub(channel),
        WorkerServiceStub(channel),
        MeshServiceStub(channel),
    )


@dataclass
class Attacker:
    """Somebody with a channel and accounts, who counts how he is answered."""

    target: str
    answers: Counter[str] = field(default_factory=Counter)
    keys: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channel, self.accounts, self.generations, self.workers, self.meshes = new_stubs(self.target)
        self.models: Any = ModelServiceStub(self.channel)

    async def register(self) -> Metadata:
        """A free account."""
        key = new_api_key()
        request = account.CreateAccountRequest(request_id=str(uuid.uuid4()), display_name="mallory", api_key=key)
        await self.accounts.CreateAccount(request)
        self.keys.append(key)
        return [("authorization", f"Bearer {key}")]

    async def offer(self) -> str:
        """A model that honest workers paint with."""
        answer = await self.models.ListModels(models.ListModelsRequest(), metadata=anonymous())
        return str(next(model.name for model in answer.models if model.workers))

    def noted(self, error: BaseException) -> None:
        """Count an answer; of what may never be answered, with its words."""
        if isinstance(error, aio.AioRpcError):
            name = str(error.code().name)
            never = error.code() in (StatusCode.INTERNAL, StatusCode.UNKNOWN)
            self.answers[f"{name}: {error.details()} {error.debug_error_string()}"[:300] if never else name] += 1
        else:
            self.answers[type(error).__name__] += 1


def anonymous() -> Metadata:
    """A fresh token."""
    return [("authorization", f"Anonymous {secrets.token_hex(16)}")]


async def create(attacker: Attacker, who: Metadata, spec: Any, generations: Any = None) -> str:
    """Ask for something, over another connection if one is given; its id, or nothing."""
    request = generation.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec)
    try:
        made = (await (generations or attacker.generations).CreateGeneration(request, metadata=who)).generation
    except aio.AioRpcError as error:
        attacker.noted(error)
        await asyncio.sleep(0.02)
        return ""
    attacker.answers["accepted"] += 1
    return str(made.generation_id)
