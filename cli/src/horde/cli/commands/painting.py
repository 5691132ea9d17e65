"""One generation on its way to files: shown while it is painted, saved image by image, followed again if need be."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from horde.api.job.v1.job_pb2 import JobEnding
from horde.cli.commands.asking import WrongPlace
from horde.cli.commands.exits import Exit
from horde.cli.commands.inscribing import inscribed
from horde.cli.commands.interrupts import on_signals
from horde.cli.commands.output import Output, kudos
from horde.cli.commands.progress import screen_for
from horde.cli.commands.reporting import say_generation
from horde.clients.errors import ServiceError
from horde.clients.images import suffix_of
from horde.clients.watching import Finished, ImageChanged, Snapshot

if TYPE_CHECKING:
    from horde.api.generation.v1.generation_pb2 import Generation, Image
    from horde.clients.session import GenerationSession


def try_place(folder: Path) -> None:
    """Make the folder and write something there, before anything is spent. Raises WrongPlace."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".horde-", dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise WrongPlace(f"Nothing can be written to --out {folder}: {error.strerror or error}") from None


def begun(out: Output, generation_id: str) -> None:
    """Say what was begun before anything else, and how to go on with it should this end badly."""
    out.known["generation_id"] = generation_id
    out.resume = (
        f"horde watch {generation_id}   follows it again and saves what is painted",
        f"horde fetch {generation_id}   saves what is done",
    )
    out.say(f"generation {generation_id}")


class Painting:
    """A generation that is watched to its end. With `cancels`, Ctrl-C cancels it; else it only stops watching."""

    def __init__(
        self, session: GenerationSession, out: Output, folder: Path, *, cancels: bool, metadata: bool = False
    ) -> None:
        self._session = session
        self._out = out
        self._folder = folder
        self._cancels = cancels
        self._metadata = metadata
        self._saving: dict[str, asyncio.Task[Path]] = {}
        self._interrupted = False
        self._cancelling: asyncio.Task[None] | None = None

    async def run(self, *, previews: bool) -> Exit:
        """Watch to the end; images are saved as they are done. Gives how it ended, for scripts."""
        generation = self._session.generation
        steps = generation.spec.job.image.steps
        try:
            with (
                on_signals(self._interrupt, signal.SIGINT),
                screen_for(self._out.console(err=True), steps, silent=self._out.as_json) as screen,
            ):
                async for event in self._session.watch(previews=previews):
                    screen.show(event)
                    match event:
                        case Snapshot(generation) | Finished(generation):
                            for image in generation.images:
                                self._save(image)
                        case ImageChanged(image):
                            self._save(image)
                        case _:
                            pass
                await asyncio.gather(*self._saving.values())
        finally:
            for task in (*self._saving.values(), *([self._cancelling] if self._cancelling else [])):
                task.cancel()
        self._report()
        if self._interrupted:
            # Nothing goes on that could be followed.
            self._out.resume = tuple(line for line in self._out.resume if not line.startswith("horde watch"))
            return Exit.CANCELLED
        return Exit.OK if len(self._saving) == len(self._session.generation.images) else Exit.INCOMPLETE

    def _interrupt(self) -> None:
        if self._interrupted or not self._cancels:
            # Leave at once; what is not cancelled goes on.
            raise KeyboardInterrupt
        self._interrupted = True
        self._cancelling = asyncio.ensure_future(self._cancel())
        self._out.note("cancelling; finished images are kept (Ctrl-C again to leave at once)")

    async def _cancel(self) -> None:
        try:
            await self._session.cancel()
        except ServiceError as error:
            self._out.note(f"it could not be cancelled, and goes on: {error.message}")

    def _save(self, image: Image) -> None:
        if image.ending == JobEnding.JOB_ENDING_DONE and image.job_id not in self._saving and not image.withdrawn:
            self._saving[image.job_id] = asyncio.ensure_future(self._write(image))

    async def _write(self, image: Image) -> Path:
        content = await self._session.fetch(image)
        if self._metadata:
            content = inscribed(content, self._session.generation, image)
        path = path_for(self._folder, self._session.generation, image)
        await asyncio.to_thread(path.write_bytes, content)
        return path

    def _report(self) -> None:
        """Where each image is, what it cost, and by which entry of the ledger."""
        generation = self._session.generation
        files = {job_id: str(task.result()) for job_id, task in self._saving.items()}
        self._out.document({"generation": generation, "files": files, **self._out.known})
        say_generation(self._out, generation, files)
        charged = sum(image.settlement.charged_mkudos for image in generation.images)
        self._out.say(f"charged    [bold]{kudos(charged)} kudos[/bold]")


def path_for(folder: Path, generation: Generation, image: Image) -> Path:
    """Where an image is saved: the same image always in the same file."""
    return folder / f"{generation.generation_id[:8]}-{image.index}{suffix_of(image)}"
