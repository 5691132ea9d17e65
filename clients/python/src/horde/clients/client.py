"""The client: one requester's view of a mesh, for as long as a block.

async with HordeClient() as horde:
    async with horde.generation(generation_spec("a sailboat on the sea at sunset", share=True)) as session:
        async for image, content in session.pictures():
            Path(f"{image.index}.webp").write_bytes(content)
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from horde.api.generation.v1.generation_pb2 import GenerationSpec
from horde.clients.accounts import Accounts
from horde.clients.credentials import Credential, find_credential
from horde.clients.doors import Doors, Security, open_doors
from horde.clients.generations import Generations
from horde.clients.images import Images
from horde.clients.kudos import Kudos
from horde.clients.models import Models
from horde.clients.retrying import Patience
from horde.clients.session import GenerationSession
from horde.clients.specs import generation_spec
from horde.clients.workers import Workers

DEFAULT_TARGET: Final = "127.0.0.1:7700"
"""Where `horde up` puts the gateway."""


class HordeClient:
    """Nouns: `generations`, `images`, `accounts`, `kudos`, `workers`, `models`."""

    generations: Generations
    images: Images
    accounts: Accounts
    kudos: Kudos
    workers: Workers
    models: Models

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
        """`target` is the gateway's address. Without `credential`, see `find_credential` for who asks."""
        self._target = target
        self._credential = credential
        self._api_key = api_key
        self._anonymous = anonymous
        self.config_folder = config_folder
        self._security = security or Security()
        self._patience = patience or Patience()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        credential = self._credential or find_credential(
            api_key=self._api_key, anonymous=self._anonymous, folder=self.config_folder
        )
        doors: Doors = await self._stack.enter_async_context(
            open_doors(self._target, credential, self._security, self._patience)
        )
        self.credential = credential
        self.generations = Generations(doors)
        self.images = Images(doors, self.generations)
        self.accounts = Accounts(doors)
        self.kudos = Kudos(doors)
        self.workers = Workers(doors)
        self.models = Models(doors)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def generation(
        self,
        spec: GenerationSpec | str,
        *,
        request_id: str | None = None,
        max_total_mkudos: int | None = None,
    ) -> GenerationSession:
        """Ask for images, and cancel what is not finished on leaving the block. A text is a prompt with defaults."""
        return GenerationSession(
            self.generations,
            self.images,
            generation_spec(spec) if isinstance(spec, str) else spec,
            request_id=request_id,
            max_total_mkudos=max_total_mkudos,
        )
