"""A machine paints when its owner wants it to, and the rules hold as soon as they are saved."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from horde.services.settings import BadSettings, load
from horde.testkit.loopback import ManualClock
from horde.worker_agent import presence
from horde.worker_agent.core.guest import Machine, Rules, parse_hours, parse_programs, why_not_now
from horde.worker_agent.guest import LOOK_SECONDS, Guest
from horde.worker_agent.settings import WorkerSettings, find_config

NIGHT = Rules(hours=parse_hours("22:00-07:00"))


@pytest.mark.parametrize(
    ("hour", "paints"), [(21.9, False), (22, True), (23.5, True), (0, True), (6.9, True), (7, False), (12, False)]
)
def test_hours_go_over_midnight(hour: float, paints: bool) -> None:
    assert (why_not_now(NIGHT, Machine(int(60 * hour)), paused=False) is None) is paints


@pytest.mark.parametrize("text", ["nine to five", "25:00-26:00", "10:70-11:00", "10:00", "10:00-11:00;12:00-13:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="day"):
        parse_hours(text)


def test_each_rule_has_its_reason() -> None:
    rules = Rules(not_beside=parse_programs("Blender.exe, steam_app"), max_celsius=80)
    assert why_not_now(rules, Machine(0, on_battery=True), paused=False) == "it runs on its battery"
    assert why_not_now(Rules(on_battery=True), Machine(0, on_battery=True), paused=False) is None
    assert why_not_now(rules, Machine(0, programs=frozenset({"blender", "bash"})), paused=False) == "blender runs"
    assert why_not_now(rules, Machine(0, celsius=81), paused=False) == "it is 81 degrees hot"
    assert why_not_now(rules, Machine(0), paused=False) is None


def test_at_the_bound_of_heat_it_does_not_go_on_and_off() -> None:
    rules = Rules(max_celsius=80)
    assert why_not_now(rules, Machine(0, celsius=79), paused=False) is None
    assert why_not_now(rules, Machine(0, celsius=79), paused=True) is not None
    assert why_not_now(rules, Machine(0, celsius=74), paused=True) is None


def test_who_is_at_the_machine_has_it_for_himself() -> None:
    rules = Rules(untouched_minutes=10)
    assert why_not_now(rules, Machine(0, untouched_seconds=599), paused=False) == "somebody is at the machine"
    assert why_not_now(rules, Machine(0, untouched_seconds=600), paused=True) is None
    # A system that does not tell is no reason never to paint.
    assert why_not_now(rules, Machine(0), paused=False) is None
    busy = Rules(max_others_percent=40)
    assert why_not_now(busy, Machine(0, others_percent=41), paused=False) == (
        "other programs use 41 % of the processor"
    )
    assert why_not_now(busy, Machine(0, others_percent=39), paused=False) is None
    assert why_not_now(busy, Machine(0, others_percent=39), paused=True) is not None
    assert why_not_now(busy, Machine(0, others_percent=29), paused=True) is None


SESSIONS = "  2 1000 anna seat0 tty2\n  3 1000 anna - pts/1\n"


@pytest.mark.parametrize(
    ("shown", "seconds"),
    [
        ({"2": "Type=wayland\nIdleHint=no\nIdleSinceHint=0\n", "3": "Type=tty\nIdleHint=no\n"}, 0.0),
        ({"2": "Type=x11\nIdleHint=yes\nIdleSinceHint=400000000\n", "3": "Type=tty\nIdleHint=no\n"}, 600.0),
        ({"2": "Type=tty\n", "3": ""}, None),
    ],
)
def test_a_desktop_tells_since_when_nobody_has_touched_it(
    monkeypatch: pytest.MonkeyPatch, shown: dict[str, str], seconds: float | None
) -> None:
    def said(program: str, *arguments: str) -> str:
        return shown[arguments[1]] if arguments[0] == "show-session" else SESSIONS

    monkeypatch.setattr(presence, "_said", said)
    monkeypatch.setattr("horde.worker_agent.presence.time.time", lambda: 1_000.0)
    assert presence._desktop() == seconds


def test_macos_tells_it_in_nanoseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "_said", lambda *words: '  |   "HIDIdleTime" = 2500000000\n')
    assert presence._macos() == 2.5
    monkeypatch.setattr(presence, "_said", lambda *words: "")
    assert presence._macos() is None


def test_a_program_that_is_not_there_says_nothing() -> None:
    assert presence._said("no-such-program-of-any-system") == ""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the environment names; unset again after the test, whatever names another meanwhile."""
    path = tmp_path / "worker.toml"
    path.write_text(f'api_key = "x"\nstate_dir = "{tmp_path}"\nmax_pixels = 4096\nquality = 80\n[models]\na = "/m/a"\n')
    monkeypatch.setenv("HORDE_WORKER_CONFIG", str(path))
    return path


def test_a_file_gives_settings_and_what_is_said_otherwise_goes_before_it(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HORDE_WORKER_QUALITY", "70")
    settings = load(WorkerSettings, ["--max-pixels", "8192"])
    assert (settings.max_pixels, settings.quality, settings.models) == (8192, 70, "a=/m/a")


def test_the_option_names_the_file_too(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('api_key = "x"\nquality = 55\n')
    find_config(["--quality", "60", f"--config={other}"])
    assert load(WorkerSettings, ["--config", str(other)]).quality == 55


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("quality = ", "TOML|Invalid"),
        ("qualty = 3", "QUALTY"),
        ("quality = 300", "QUALITY"),
        ('hours = "noon"', "HOURS"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong_in_it(config: Path, text: str, words: str) -> None:
    config.write_text(f'api_key = "x"\n{text}\n')
    with pytest.raises(BadSettings, match=words):
        load(WorkerSettings)


def test_a_file_that_is_not_there_is_not_passed_over(config: Path) -> None:
    config.unlink()
    with pytest.raises(BadSettings, match="HORDE_WORKER_CONFIG"):
        load(WorkerSettings)


class Told:
    """An agent that notes what it is told."""

    def __init__(self) -> None:
        self.paused: list[bool] = []

    def pause(self, *, paused: bool) -> None:
        self.paused.append(paused)


@pytest.mark.parametrize(
    "error", [OSError("no sensor"), ValueError("odd words"), IndexError("an empty line")], ids=repr
)
async def test_a_pause_ends_also_while_the_machine_cannot_be_looked_at(config: Path, error: Exception) -> None:
    clock, told, looks = ManualClock(), Told(), 0

    def see(rules: Rules) -> Machine:
        nonlocal looks
        looks += 1
        raise error

    guest = Guest(told, load(WorkerSettings), clock, see=see, reload=lambda: load(WorkerSettings))
    task = asyncio.create_task(guest.keep_the_rules())
    try:
        guest.pause(1.5 * LOOK_SECONDS)
        for count in (1, 2, 3):
            while (looks < count or not clock.waiting) and not task.done():
                await asyncio.sleep(0)
            assert told.paused == ([True] if count < 3 else [True, False])
            await clock.advance(LOOK_SECONDS)
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_rules_hold_as_soon_as_the_file_is_saved_and_a_bad_file_changes_nothing(config: Path) -> None:
    clock, told, machine = ManualClock(), Told(), Machine(12 * 60)
    seen: list[Rules] = []

    def see(rules: Rules) -> Machine:
        seen.append(rules)
        return machine

    guest = Guest(told, load(WorkerSettings), clock, see=see, reload=lambda: load(WorkerSettings))
    task = asyncio.create_task(guest.keep_the_rules())

    async def looked() -> None:
        before = len(seen)
        if before:
            await clock.advance(LOOK_SECONDS)
        while len(seen) == before or not clock.waiting:
            await asyncio.sleep(0)

    try:
        await looked()
        assert told.paused == []
        for line, paused in (('hours = "22:00-07:00"', [True]), ("hours = 3", [True]), ('hours = ""', [True, False])):
            config.write_text(f'api_key = "x"\n{line}\n')
            await looked()
            assert told.paused == paused
        assert guest.why is None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
