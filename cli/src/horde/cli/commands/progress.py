"""The live screen of a generation: a bar for each image, and a glimpse of what is being painted."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from horde.api.generation.v1.generation_pb2 import Image
from horde.api.job.v1.job_pb2 import JobEnding, JobState
from horde.cli.commands.blocks import picture
from horde.cli.commands.quoting import wait_text
from horde.clients.watching import Finished, ImageChanged, Previewed, Progressed, Snapshot, Waiting, WatchEvent


def state_text(image: Image) -> str:
    """Where an image is, in a few words."""
    match image.state:
        case JobState.JOB_STATE_QUEUED:
            again = f" again (attempt {image.attempt + 1})" if image.attempt else ""
            return f"queued{again}: {wait_text(image.wait)}" if image.HasField("wait") else f"queued{again}"
        case JobState.JOB_STATE_LEASED:
            return "painting"
        case JobState.JOB_STATE_SETTLING:
            return "settling"
        case JobState.JOB_STATE_ENDED:
            ending = JobEnding.Name(image.ending).removeprefix("JOB_ENDING_").lower()
            return f"{ending}: {image.ending_detail}" if image.ending_detail else ending
        case _:
            return "accepted"


PREVIEWS_FROM: Final = 0.75
"""How far an image is when a glimpse of it begins to look like something."""
BAR_COLUMNS: Final = 30
NARROW_COLUMNS: Final = 72
"""Where a terminal is narrower, the bar is short and there is no clock."""


class Screen(Protocol):
    """Somewhere to show what happens."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, event: WatchEvent) -> None:
        """Show what happened."""


class SilentScreen:
    """For programs: shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, event: WatchEvent) -> None:
        pass


class PlainScreen(SilentScreen):
    """For logs and pipes: a line for each durable change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[int, str] = {}

    def show(self, event: WatchEvent) -> None:
        match event:
            case Snapshot(generation) | Finished(generation):
                for image in generation.images:
                    self._say(image)
            case ImageChanged(image):
                self._say(image)
            case _:
                pass

    def _say(self, image: Image) -> None:
        text = state_text(image)
        if self._said.get(image.index) != text:
            self._said[image.index] = text
            self._console.print(f"image {image.index}  {text}", markup=False)


class LiveScreen:
    """For people at a terminal: bars that move, and previews."""

    def __init__(self, console: Console, steps: int) -> None:
        self._steps = steps
        narrow = console.width < NARROW_COLUMNS
        self._progress = Progress(
            TextColumn("{task.fields[index]}" if narrow else "image {task.fields[index]}"),
            BarColumn(bar_width=BAR_COLUMNS // 3 if narrow else BAR_COLUMNS),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            # It gives way where the terminal is narrow, and never takes a second line.
            TextColumn(
                "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
            ),
            *([] if narrow else [TimeElapsedColumn()]),
            console=console,
            expand=True,
        )
        self._tasks: dict[int, TaskID] = {}
        self._preview: Text | None = None
        self._live = Live(self._render(), console=console, refresh_per_second=8, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._preview = None
        self._live.update(self._render(), refresh=True)
        self._live.stop()

    def show(self, event: WatchEvent) -> None:
        match event:
            case Snapshot(generation) | Finished(generation):
                for image in generation.images:
                    self._image(image)
            case ImageChanged(image):
                self._image(image)
            case Progressed():
                self._progress.update(
                    self._task(event.index), completed=event.step, total=event.steps, description="painting"
                )
            case Waiting():
                self._progress.update(self._task(event.index), description=f"queued: {wait_text(event.estimate)}")
            case Previewed() if event.step >= PREVIEWS_FROM * self._steps:
                self._preview = picture(event.image) or self._preview
            case _:
                # Too early to be worth a look.
                pass
        self._live.update(self._render())

    def refresh(self) -> None:
        """Draw now; else it is drawn eight times a second."""
        self._live.refresh()

    def _render(self) -> Group:
        return Group(self._progress, self._preview) if self._preview is not None else Group(self._progress)

    def _task(self, index: int) -> TaskID:
        if index not in self._tasks:
            self._tasks[index] = self._progress.add_task("accepted", total=self._steps, index=index)
        return self._tasks[index]

    def _image(self, image: Image) -> None:
        done = image.state == JobState.JOB_STATE_ENDED and image.ending == JobEnding.JOB_ENDING_DONE
        task = self._task(image.index)
        if done:
            self._progress.update(task, completed=self._steps, total=self._steps)
        elif image.state != JobState.JOB_STATE_ENDED:
            self._progress.update(task, completed=image.step)
        self._progress.update(task, description=state_text(image))
        if image.state == JobState.JOB_STATE_ENDED:
            self._progress.stop_task(task)


def screen_for(console: Console, steps: int, *, silent: bool) -> Screen:
    """The best screen for where the output goes."""
    if silent:
        return SilentScreen()
    return LiveScreen(console, steps) if console.is_terminal else PlainScreen(console)
