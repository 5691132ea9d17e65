"""The models of this mesh: what the operator's catalogue names, what workers offer, and what somebody waits for.

A model that nobody knows is refused before it holds kudos, with the names that are nearest. The check is for people's
sake and never in the way of a mesh that has no model yet or a scheduler that is late: then whatever is named is taken.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from google.protobuf import json_format

from horde.api.job.v1 import job_pb2
from horde.api.model.v1 import model_service_pb2 as pb
from horde.gateway.core.errors import InvalidModelField, ModelNotFound, ModelUnknown
from horde.gateway.core.model_names import nearest
from horde.gateway.core.pages import read_place, write_place
from horde.gateway.core.validation import MAX_NAME_CHARACTERS, Violations
from horde.gateway.doors.listing import bad_page_token
from horde.gateway.neighbours.refusals import told_outward
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services import deadlines
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.lifecycle import CannotStart

MAX_PAGE = 500
DEFAULT_PAGE = 100
CHECK_SECONDS = 0.5
"""How long somebody waits for the word on a model."""
HERE_SECONDS = 1.0
"""How old the models may be that quotes propose: whoever asks for quotes must not have them read for each."""
KNOWN_SECONDS = 600.0
MAX_KNOWN = 10_000
MAX_MODELS = 20_000
"""Models that are read of the scheduler for one answer."""


class Catalogue:
    """What is known of models. `entries` are the operator's, by name."""

    def __init__(self, scheduler: SchedulerClient, clock: Clock, entries: Mapping[str, pb.Model]) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._entries = entries
        self._aliases = {alias: name for name, model in entries.items() for alias in model.catalogue.aliases}
        self._known: OrderedDict[str, float] = OrderedDict()
        """Models that workers offer, or offered in the last day, and when the scheduler said so."""
        self._here: tuple[float, list[pb.Model]] | None = None
        self._reading: dict[bool, asyncio.Task[list[pb.Model]]] = {}

    async def check(self, name: str) -> None:
        """Raises ModelUnknown for a model that neither the catalogue nor any worker of the last day has."""
        if name in self._entries or self._known_lately(name):
            return
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                if await self._offered(name):
                    self._remember(name)
                    return
                names = {model.name for model in await self._read(lately=True)} | set(self._entries)
        except (ServiceError, TimeoutError):
            return
        if names and name not in names:
            meant = nearest(name, names, self._aliases)
            raise ModelUnknown(metadata={"model": name, "did_you_mean": ",".join(meant)})

    async def page(self, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        """A page of models, by name."""
        wrong = Violations()
        size = wrong.page(request.page_size, request.page_token, MAX_PAGE) or DEFAULT_PAGE
        wrong.part("name_contains", request.name_contains, MAX_NAME_CHARACTERS)
        wrong.known("kind", request.kind, job_pb2.JobKind.values())
        after = read_place(request.page_token)
        if wrong.found or after is None:
            raise InvalidModelField(violations=wrong.found or [bad_page_token()])
        part = request.name_contains.casefold()
        found = [
            model
            for model in await self.everything()
            if model.name > after
            and part in model.name.casefold()
            and (not request.available or model.workers)
            and (not request.kind or model.kind == request.kind)
        ]
        token = write_place(found[size - 1].name) if len(found) > size else ""
        return pb.ListModelsResponse(models=found[:size], next_page_token=token)

    async def model(self, name: str) -> pb.Model:
        """One model; raises ModelNotFound with the nearest names."""
        wrong = Violations()
        wrong.name("name", name)
        if wrong.found:
            raise InvalidModelField(violations=wrong.found)
        question = scheduler_pb2.ListModelsRequest(page_size=1, name=name)
        with told_outward():
            answer = await self._scheduler.list_models(question)
        for model in self._with_entries(answer.models, [name]):
            return model
        names = {known.name for known in await self.everything()}
        raise ModelNotFound(metadata={"name": name, "did_you_mean": ",".join(nearest(name, names, self._aliases))})

    async def alternatives(self, name: str) -> list[str]:
        """Models of the same kind that somebody here paints with, those that begin soonest first."""
        now = self._clock.monotonic()
        if self._here is None or now - self._here[0] >= HERE_SECONDS:
            self._here = now, await self._read(lately=False)
        models = self._here[1]
        kind = next((model.kind for model in models if model.name == name), job_pb2.JOB_KIND_IMAGE)
        others = [model for model in models if model.name != name and model.workers and model.kind == kind]
        return [model.name for model in sorted(others, key=lambda model: (model.wait.p50.ToNanoseconds(), model.name))]

    async def everything(self) -> list[pb.Model]:
        """Every model, by name: of the catalogue, offered now, or with jobs waiting."""
        with told_outward():
            models = await self._read(lately=False)
        return self._with_entries(models, self._entries)

    def _with_entries(self, models: Iterable[pb.Model], names: Iterable[str]) -> list[pb.Model]:
        """These models, and those of the catalogue under these names, by name, each with what the catalogue says."""
        merged = {name: self._entries[name] for name in names if name in self._entries}
        for model in models:
            if entry := self._entries.get(model.name):
                model.catalogue.CopyFrom(entry.catalogue)
                model.kind = model.kind or entry.kind
            merged[model.name] = model
        return [merged[name] for name in sorted(merged)]

    def _known_lately(self, name: str) -> bool:
        since = self._known.get(name)
        return since is not None and self._clock.monotonic() - since < KNOWN_SECONDS

    def _remember(self, name: str) -> None:
        self._known[name] = self._clock.monotonic()
        self._known.move_to_end(name)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    async def _offered(self, name: str) -> bool:
        question = scheduler_pb2.ListModelsRequest(page_size=1, name=name, lately=True)
        return any(model.name == name for model in (await self._scheduler.list_models(question)).models)

    async def _read(self, *, lately: bool) -> list[pb.Model]:
        """What the scheduler lists. Those who ask at the same time get the same answer: it costs one look at all."""
        reading = self._reading.get(lately)
        if reading is None:
            with deadlines.without_deadline():
                reading = self._reading[lately] = asyncio.create_task(self._read_pages(lately))
            reading.add_done_callback(lambda task: self._was_read(lately, task))
        models = await asyncio.shield(reading)
        copies = [pb.Model() for _ in models]
        for copy, model in zip(copies, models, strict=True):
            copy.CopyFrom(model)
        return copies

    def _was_read(self, lately: bool, task: asyncio.Task[list[pb.Model]]) -> None:
        self._reading.pop(lately, None)
        if not task.cancelled():
            task.exception()  # Seen, also where everybody who waited has gone.

    async def _read_pages(self, lately: bool) -> list[pb.Model]:
        question = scheduler_pb2.ListModelsRequest(page_size=MAX_PAGE, lately=lately)
        models: list[pb.Model] = []
        while True:
            answer = await self._scheduler.list_models(question)
            models += answer.models
            question.page_token = answer.next_page_token
            if not question.page_token or len(models) >= MAX_MODELS:
                return models


def read_catalogue(file: Path | None) -> dict[str, pb.Model]:
    """The operator's catalogue: a ListModelsResponse as JSON. Raises CannotStart for what is none."""
    if file is None:
        return {}
    try:
        models: Sequence[pb.Model] = json_format.Parse(file.read_text("utf-8"), pb.ListModelsResponse()).models
    except (OSError, UnicodeError, json_format.ParseError) as error:
        raise CannotStart(f"the catalogue {file} cannot be read: {error}") from error
    wrong = Violations()
    for index, model in enumerate(models):
        wrong.name(f"models[{index}].name", model.name)
    if wrong.found:
        first = wrong.found[0]
        raise CannotStart(f"the catalogue {file}: {first.field} {first.description}")
    # What is of the moment comes from the scheduler alone.
    return {model.name: pb.Model(name=model.name, kind=model.kind, catalogue=model.catalogue) for model in models}
