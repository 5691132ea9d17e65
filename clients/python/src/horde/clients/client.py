"""The client: one requester's view of a mesh, for as long as a block.

async with HordeClient() as horde:
    async with horde.generation(generation_spec("a sailboat on the sea at sunset", share=True)) as session:
        async for image, content in session.pictures():
            Path(f"{image.index}.webp").write_bytes(content)
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from horde.api.generation.v1.generation_pb2 import Generation, GenerationSpec
from horde.clients.accounts import Accounts
from horde.clients.credentials import Credential, find_credential, mesh_folder
from horde.clients.doors import Doors, Security, check_target, open_doors
from horde.clients.generations import Generations
from horde.clients.images import Images
from horde.clients.kudos import Kudos
from horde.clients.meshes import Mesh
from horde.clients.models import Models
from horde.clients.moderation import Moderation
from horde.clients.ratings import Ratings
from horde.clients.releases import Releases
from horde.clients.retrying import Patience
from horde.clients.session import GenerationSession
from horde.clients.shared_keys import SharedKeys
from horde.clients.specs import generation_spec, new_request_id
from horde.clients.standing import Standings
from horde.clients.statistics import Statistics
from horde.clients.webhooks import Webhooks
from horde.clients.workers import Workers

DEFAULT_TARGET: Final = "127.0.0.1:7700"
"""Where `horde up` puts the gateway."""


class HordeClient:
    """Nouns: `generations`, `images`, `accounts`, `kudos`, `workers`, `models`, `moderation`, `ratings`, `releases`,
    `mesh`."""

    generations: Generations
    images: Images
    accounts: Accounts
    kudos: Kudos
    workers: Workers
    models: Models
    moderation: Moderation
    ratings: Ratings
    releases: Releases
    mesh: Mesh

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        credential: Credential | None = None,
        api_key: str | None = None,
        anonymous: bool = False,
        config_folder: Path | None = None,
        security: Security | None = None,
        patience: Patience | None = None,
    ) -> None:
        """`target` is the gateway's address, HOST:PORT; entering the block raises ValueError for what is none. Without
        `credential`, see `find_credential` for who asks."""
        self.target = target
        self._credential = credential
        self._api_key = api_key
        self._anonymous = anonymous
        self._config_folder = config_folder
        self.security = security or Security()
        self._patience = patience or Patience()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        check_target(self.target)
        credential = self._credential or find_credential(
            self.target, api_key=self._api_key, anonymous=self._anonymous, folder=self._config_folder
        )
        doors: Doors = await self._stack.enter_async_context(
            open_doors(self.target, credential, self.security, self._patience)
        )
        self.credential = credential
        self._doors = doors
        self.generations = Generations(doors)
        self.images = Images(doors, self.generations)
        self.accounts = Accounts(doors)
        self.shared_keys = SharedKeys(doors)
        self.kudos = Kudos(doors)
        self.webhooks = Webhooks(doors)
        self.workers = Workers(doors)
        self.models = Models(doors)
        self.moderation = Moderation(doors)
        self.ratings = Ratings(doors)
        self.releases = Releases(doors)
        self.mesh = Mesh(doors)
        self.standings = Standings(doors)
        self.statistics = Statistics(doors)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def mesh_folder(self) -> Path:
        """Where this user's key and token for this mesh are kept."""
        return mesh_folder(self.target, self._config_folder)

    async def reach(self, within: timedelta) -> None:
        """Wait until the gateway answers. Raises Unavailable, with the reason, if it has not by then."""
        await self._doors.reach(within)

    async def call(self, method: str, request: Message) -> Message:
        """Make any call of the contract that is no stream, for what no noun here has: `method` is for example
        `horde.api.mesh.v1.MeshService/GetMesh`, whose module has been imported. Raises what `errors` lists.
        """
        service, _, name = method.rpartition("/")
        found = Default().FindServiceByName(service).FindMethodByName(name)
        ask: Any = self._doors.gateway.unary_unary(
            f"/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(found.output_type).FromString,
        )
        answer: Message = await self._doors.ask(ask, request)
        return answer

    def generation(
        self,
        spec: GenerationSpec | str,
        *,
        request_id: str | None = None,
        max_total_mkudos: int | None = None,
        cancels: bool = True,
    ) -> GenerationSession:
        """Ask for images. A text is a prompt with defaults.

        Leaving the block early cancels what is not finished, unless `cancels` is false: then it goes on, and can be
        followed again.
        """

        async def ask() -> Generation:
            return await self.generations.create(asked, request_id=named, max_total_mkudos=max_total_mkudos)

        asked = generation_spec(spec) if isinstance(spec, str) else spec
        named = request_id or new_request_id()
        return GenerationSession(self.generations, self.images, ask, cancels=cancels)

    def following(self, generation_id: str) -> GenerationSession:
        """A generation that was asked for before, also by another process. Leaving the block cancels nothing."""

        async def get() -> Generation:
            return await self.generations.get(generation_id)

        return GenerationSession(self.generations, self.images, get, cancels=False)
