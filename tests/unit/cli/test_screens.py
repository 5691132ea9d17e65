"""What people see while a picture is painted: bars, glimpses, and plain lines where there is no terminal."""

import io

import pytest
from PIL import Image as Pillow
from rich.console import Console

from horde.api.generation.v1.generation_pb2 import Generation, Image, IneligibleReason, IneligibleWorkers, WaitEstimate
from horde.api.job.v1.job_pb2 import JobEnding, JobState
from horde.cli.commands.blocks import HALF_BLOCK, picture
from horde.cli.commands.progress import LiveScreen, PlainScreen, SilentScreen, screen_for
from horde.clients.watching import Finished, ImageChanged, Previewed, Progressed, Snapshot, WatchEvent


def jpeg(width: int = 64, height: int = 64) -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (width, height), (200, 20, 20)).save(buffer, "JPEG")
    return buffer.getvalue()


def image(state: JobState.ValueType, **rest: object) -> Image:
    return Image(job_id="a", index=0, state=state, **rest)  # type: ignore[arg-type]


QUEUED = JobState.JOB_STATE_QUEUED
DONE = image(JobState.JOB_STATE_ENDED, ending=JobEnding.JOB_ENDING_DONE)
WAIT = WaitEstimate(jobs_ahead=3, eligible_workers=2)
STORY: list[WatchEvent] = [
    Snapshot(Generation(images=[image(JobState.JOB_STATE_QUEUED, wait=WAIT)])),
    ImageChanged(image(JobState.JOB_STATE_LEASED, lease_id="1-1")),
    Progressed(0, "a", "1-1", 7, 20),
    Previewed(0, "a", 7, jpeg()),
    Previewed(0, "a", 15, jpeg()),
    ImageChanged(DONE),
    Finished(Generation(images=[DONE], finished=True)),
]


def terminal(width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=width)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_gets_bars_and_a_glimpse() -> None:
    console = terminal()
    with screen_for(console, 20, silent=False) as screen:
        assert isinstance(screen, LiveScreen)
        for event in STORY:
            screen.show(event)
            # As its own clock would, between two events.
            screen.refresh()
    text = shown(console)
    assert "3 ahead" in text
    assert "7/20" in text
    assert HALF_BLOCK in text
    assert "done" in text


@pytest.mark.parametrize(("step", "shown_at_all"), [(14, False), (15, True)])
def test_a_glimpse_is_shown_once_it_is_more_than_noise(step: int, shown_at_all: bool) -> None:
    console = terminal()
    with screen_for(console, 20, silent=False) as screen:
        assert isinstance(screen, LiveScreen)
        screen.show(STORY[0])
        screen.show(Previewed(0, "a", step, jpeg()))
        screen.refresh()
    assert (HALF_BLOCK in shown(console)) is shown_at_all


@pytest.mark.parametrize("width", [44, 60, 80])
def test_a_bar_takes_one_line_in_a_narrow_terminal_and_says_where_it_is(width: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width)
    ineligible = [IneligibleWorkers(reason=IneligibleReason.INELIGIBLE_REASON_SIZE, workers=12)]
    wait = WaitEstimate(jobs_ahead=123, eligible_workers=20, ineligible=ineligible)
    images = [Image(job_id=str(number), index=number, state=QUEUED, wait=wait) for number in range(12)]
    screen = LiveScreen(console, 20)
    for event in (Snapshot(Generation(images=images)), Progressed(3, "3", "1-1", 7, 20)):
        screen.show(event)
    # One picture of the screen, as it would stand.
    console.print(screen._render())
    lines = [line.rstrip() for line in shown(console).splitlines() if line.strip()]
    assert len(lines) == len(images)
    assert all(len(line) <= width for line in lines)
    assert all(f"{number} " in line for number, line in enumerate(lines))
    assert "7/20 painting" in " ".join(lines[3].split())
    assert "queued" in lines[0]


def test_what_a_worker_says_is_shown_as_it_is() -> None:
    ended = image(JobState.JOB_STATE_ENDED, ending=JobEnding.JOB_ENDING_FAULTED, ending_detail="[/b] in [red]")
    for console in (terminal(), Console(file=io.StringIO(), width=200)):
        with screen_for(console, 20, silent=False) as screen:
            screen.show(ImageChanged(ended))
        assert "[/b] in [red]" in shown(console)


def test_a_pipe_gets_a_line_for_each_change() -> None:
    console = Console(file=io.StringIO(), width=200)
    screen = screen_for(console, 20, silent=False)
    assert isinstance(screen, PlainScreen)
    for event in STORY:
        screen.show(event)
    lines = shown(console).splitlines()
    assert [line.split("  ")[1].split(":")[0] for line in lines] == ["queued", "painting", "done"]


def test_a_program_gets_nothing() -> None:
    console = terminal()
    screen = screen_for(console, 20, silent=True)
    assert isinstance(screen, SilentScreen)
    for event in STORY:
        screen.show(event)
    assert shown(console) == ""


def test_two_pixels_stand_in_each_character() -> None:
    text = picture(jpeg(64, 32), columns=16)
    assert text is not None
    lines = text.plain.split("\n")
    assert {len(line) for line in lines} == {16}
    assert len(lines) == 4


def test_what_is_no_picture_is_no_error() -> None:
    assert picture(b"no picture") is None
    assert picture(jpeg()[:20]) is None
