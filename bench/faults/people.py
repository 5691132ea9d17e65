"""Requesters: each asks until it has an answer, looks at what becomes of it, and may cancel, withdraw or conflict."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

from faults.network import Network, stub_channel
from faults.services import GATEWAYS, MODELS, envelope, signers
from faults.truth import Asked, Truth
from faults.virtual import Process
from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as service_pb2
from horde.api.job.v1 import job_pb2
from horde.api.storage.v1 import storage_service_pb2
from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from horde.gateway.core.requesters import ANONYMOUS, Principal, Requester, generation_id
from horde.services.errors import Aborted, DeadlineExceeded, NotFound, ResourceExhausted, ServiceError, Unavailable
from horde.services.status import from_status
from horde.testkit.storage_router import paint

ANNA, BERT, POOR = (f"00000000-0000-4000-8000-00000000000{digit}" for digit in "abc")
WHO = (ANNA, ANNA, BERT, POOR, ANONYMOUS, ANONYMOUS)
SIZE = 64
TICKET = timedelta(minutes=10)
JPEGS = tuple(paint("JPEG", seed=1_000 + seed) for seed in range(4))
NOBODY_KNOWS = (Unavailable, DeadlineExceeded)
NOW_NOT = (*NOBODY_KNOWS, ResourceExhausted)


class Person:
    """One who asks for one generation."""

    def __init__(self, process: Process, network: Network, truth: Truth, seed: str, number: int) -> None:
        self._process = process
        self._network = network
        self._truth = truth
        chance = self._chance = Random(f"{seed}/person/{number}")
        account = chance.choice(WHO)
        digest = bytes([1 + chance.randrange(3)]) * 32 if account == ANONYMOUS else b""
        self.principal = Principal(Requester(account, digest))
        self.request = service_pb2.CreateGenerationRequest(request_id=str(UUID(int=chance.getrandbits(128), version=4)))
        spec = self.request.spec
        spec.count = chance.choice((1, 1, 2, 4))
        spec.share = chance.random() < 0.4
        spec.wait_for_model = True
        spec.time_to_live.seconds = chance.choice((30, 120, 600, 1200))
        spec.job.model = chance.choice(MODELS)
        image = spec.job.image
        image.prompt, image.width, image.height = f"a fox {number}", SIZE, SIZE
        image.steps = chance.choice((2, 3, 8))
        self._input = JPEGS[chance.randrange(len(JPEGS))] if chance.random() < 0.15 else b""
        self.asked = Asked(
            generation_id(self.principal, self.request.request_id), account, spec.count, spec.share, bool(self._input)
        )
        self._cancels = chance.random() < 0.25
        self._withdraws = chance.random() < 0.15
        self._deletes = chance.random() < 0.1
        self._conflicts = chance.random() < 0.2
        self._version = 0
        self.seen: Any = None
        """The generation as it was shown last."""
        self.done = False

    async def live(self) -> None:
        """Ask, look, and stop when everything has ended."""
        self._truth.ask(self.asked)
        await asyncio.sleep(self._chance.random() * 40)
        if self._input:
            await self._put_input()
        if not await self._create():
            self.done = True
            return
        if self._conflicts:
            await self._conflict()
        if self._cancels:
            await asyncio.sleep(self._chance.random() ** 2 * 60)
            await self._insist("cancel", self._ref())
            self.asked.cancelled = True
        while not await self._look():
            await asyncio.sleep(5 + 15 * self._chance.random())
        if self._chance.random() < 0.3:
            await self._fetch()
        if self._withdraws:
            await self._withdraw()
        elif self._deletes:
            await self._delete()
        self.done = True

    async def _call(self, path: str, message: Any, principal: Principal | None = None) -> bytes:
        gateway = self._chance.choice(GATEWAYS)
        return await self._network.call(self._process, gateway, path, envelope(principal or self.principal, message))

    async def _insist(self, path: str, message: Any) -> bytes:
        """Until somebody knows. Raises what was decided."""
        while True:
            try:
                return await self._call(path, message)
            except NOW_NOT:
                await asyncio.sleep(0.5 + 2 * self._chance.random())

    async def _put_input(self) -> None:
        """Bring a picture to begin with; it is this person's alone, and private."""
        input_id, digest = str(UUID(int=self._chance.getrandbits(128), version=4)), hashlib.sha256(self._input)
        claims = {
            "act": "put_input", "input_id": input_id, "requester": str(self.principal.requester), "max_bytes": 1 << 20,
        }  # fmt: skip
        self._truth.pictures[digest.hexdigest()] = "input"
        router: Any = StorageServiceStub(stub_channel(self._network, self._process, "router-"))
        while True:
            ticket = signers()["gateway"].sign("storage-router", claims, TICKET, self._process.clock.now())
            request = storage_service_pb2.PutSmallInputRequest(ticket=ticket, data=self._input, sha256=digest.digest())
            try:
                await router.PutSmallInput(request)
                break
            except NOW_NOT:
                await asyncio.sleep(0.5 + self._chance.random())
        image = self.request.spec.job.image
        image.source_image.input_id, image.source_image.sha256 = input_id, digest.digest()

    async def _create(self) -> bool:
        try:
            known = generation_pb2.Generation.FromString(await self._insist("create", self.request))
        except ServiceError as refusal:
            if refusal.reason not in ("INSUFFICIENT_KUDOS", "BUDGET_SPENT", "REFUSED_BEFORE"):
                self._truth.fail(f"{self.asked.generation_id}: {type(refusal).__name__} {refusal.reason}: {refusal}")
            self._truth.refused(self.asked)
            return False
        placement = job_pb2.Placement.Name(known.quote.placement).removeprefix("PLACEMENT_")
        self._truth.accepted(self.asked, placement)
        self._show(known)
        return True

    async def _conflict(self) -> None:
        """The same id with other content."""
        other = service_pb2.CreateGenerationRequest()
        other.CopyFrom(self.request)
        other.spec.job.image.steps += 1
        try:
            await self._insist("create", other)
            self._truth.fail(f"{self.asked.generation_id}: the same id with other content was taken")
        except ServiceError as refusal:
            if refusal.reason != "REQUEST_CONFLICT" or "steps" not in refusal.metadata.get("field", ""):
                self._truth.fail(f"{self.asked.generation_id}: a conflict is answered {refusal.reason} {refusal}")

    async def _look(self) -> bool:
        """Whether everything has ended."""
        try:
            body = await self._call("get", self._ref())
        except NOW_NOT:
            return False
        except Aborted:
            return False
        self._show(generation_pb2.Generation.FromString(body))
        if self._chance.random() < 0.1:
            await self._peek()
        return bool(self.seen.finished)

    def _ref(self) -> service_pb2.GetGenerationRequest:
        return service_pb2.GetGenerationRequest(generation_id=self.asked.generation_id)

    def _show(self, generation: Any) -> None:
        truth, name = self._truth, self.asked.generation_id
        truth.must(generation.version >= self._version, f"{name}: shown {self._version}, then {generation.version}")
        truth.must(len(generation.images) == self.asked.count, f"{name}: {len(generation.images)} images")
        truth.shown(self.asked, generation.images)
        if self.seen is not None:
            for old, new in zip(self.seen.images, generation.images, strict=True):
                if old.state == job_pb2.JOB_STATE_ENDED:
                    same = (old.ending, old.sha256) == (new.ending, new.sha256)
                    truth.must(same, f"{old.job_id}: shown as ended, and then otherwise")
        self._version, self.seen = generation.version, generation

    async def _peek(self) -> None:
        """Somebody else asks for it."""
        stranger = Principal(Requester(ANONYMOUS, bytes([9]) * 32))
        try:
            await self._call("get", self._ref(), stranger)
            self._truth.fail(f"{self.asked.generation_id}: shown to a stranger")
        except NotFound:
            pass
        except ServiceError as error:
            if not isinstance(error, NOW_NOT):
                self._truth.fail(f"{self.asked.generation_id}: a stranger hears {error.reason}")

    async def _fetch(self) -> None:
        """Bring home what is done."""
        router: Any = StorageServiceStub(stub_channel(self._network, self._process, "router-"))
        for image in self.seen.images:
            if image.ending != job_pb2.JOB_ENDING_DONE:
                continue
            while (data := await self._download(router, image)) is None:
                await asyncio.sleep(0.5 + self._chance.random())
            same = hashlib.sha256(data).digest() == image.sha256
            self._truth.must(same, f"{image.job_id}: what is fetched is not what is shown")

    async def _download(self, router: Any, image: Any) -> bytes | None:
        data = b""
        try:
            async for part in router.Download(storage_service_pb2.DownloadRequest(ticket=image.download.ticket)):
                data += part.chunk.data if part.HasField("chunk") else b""
        except NOW_NOT:
            return None
        except ServiceError as error:
            self._truth.fail(f"{image.job_id}: done, and cannot be fetched: {error.reason} {error}")
        return data

    async def _delete(self) -> None:
        """Have all of it forgotten."""
        self._truth.deletes(self.asked)
        await self._insist("delete", self._ref())
        self.asked.deleted = True
        try:
            await self._insist("get", self._ref())
            self._truth.fail(f"{self.asked.generation_id}: deleted, and shown")
        except ServiceError as error:
            if not isinstance(error, NotFound):
                self._truth.fail(f"{self.asked.generation_id}: deleted, and one hears {error.reason} {error}")

    async def _withdraw(self) -> None:
        done = [image.job_id for image in self.seen.images if image.ending == job_pb2.JOB_ENDING_DONE]
        if not done:
            return
        self.asked.withdrawn.update(done)
        message = service_pb2.WithdrawImagesRequest(generation_id=self.asked.generation_id, job_ids=done)
        while True:
            answer = service_pb2.WithdrawImagesResponse.FromString(await self._insist("withdraw", message))
            errors = [from_status(status) for status in answer.outcomes if status.code]
            if not any(isinstance(error, NOW_NOT) for error in errors):
                break
            await asyncio.sleep(1 + self._chance.random())
        self._truth.must(not errors, f"{self.asked.generation_id}: not withdrawn: {errors[:1]}")
