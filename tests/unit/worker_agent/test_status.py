"""The owner's screen, as text, in each state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from horde.worker_agent.core.status import JobStatus, ModelStatus, Status, lines

STATUS = Status("anna", "horde-worker-agent/1", "mesh:7700", 7_500.0, "idle", free_mib=900)
PAINTING = JobStatus("sdxl", 1024, 768, "painting", 12, 30, 75.0)
PREPARED = JobStatus("turbo", 512, 512, "preparing", 0, 4, 2.0)
WAITING = JobStatus("sdxl", 512, 512, "waiting", 0, 30, 1.0)
UPLOADING = JobStatus("sdxl", 512, 512, "uploading", 30, 30, 90.0)
HEAD = "anna at mesh:7700, horde-worker-agent/1, here for 2 h 05 min"
EARNED = "earned     0.000 kudos in 0 pictures"
MACHINE = "machine    900 MiB free"


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        pytest.param(
            replace(STATUS, state="loading", why=("sdxl is loaded",), seconds=7),
            [HEAD.replace("2 h 05 min", "7 s"), "models     sdxl is loaded", EARNED, MACHINE],
            id="loading",
        ),
        pytest.param(
            replace(
                STATUS,
                state="painting",
                jobs=(PAINTING, PREPARED, WAITING, UPLOADING),
                models=(ModelStatus("sdxl", True, 10, 1), ModelStatus("turbo", False, 10, 1)),
                paid=2,
                unpaid=1,
                owed=3,
                earned_mkudos=21_660,
                escrow_mkudos=5_000,
                celsius=61.4,
                faults={"failed (backend)": 2},
            ),
            [
                HEAD,
                "painting   sdxl 1024x768, step 12 of 30, 1 min 15 s",
                "           turbo 512x512, being prepared, 2 s",
                "next       1 waits here",
                "uploading  1 finished, on the way to storage",
                "owed       3 reported and not settled yet; kept on disk",
                "earned     21.660 kudos in 2 pictures; 10.397 an hour; 5.000 of it in escrow; 1 not paid",
                "faults     2 failed (backend)",
                "models     sdxl (in memory), turbo",
                "machine    61 degrees, 900 MiB free",
            ],
            id="painting",
        ),
        pytest.param(
            replace(STATUS, state="painting", why=("the gateway cannot be reached",), jobs=(UPLOADING,)),
            [
                HEAD,
                "painting   the gateway cannot be reached",
                "           the last picture is on its way",
                "uploading  1 finished, on the way to storage",
                EARNED,
                MACHINE,
            ],
            id="painted, and away",
        ),
        pytest.param(STATUS, [HEAD, "idle       nobody asks for what is offered", EARNED, MACHINE], id="idle"),
        pytest.param(
            replace(STATUS, why=("3 jobs wait for others: too large", "it rests"), problems=("sd: cut off",)),
            [
                HEAD,
                "idle       3 jobs wait for others: too large",
                "           it rests",
                EARNED,
                "problem    sd: cut off",
                MACHINE,
            ],
            id="idle, with reasons",
        ),
        pytest.param(
            replace(STATUS, state="paused", why=("a game runs",)),
            [HEAD, "paused     a game runs", EARNED, MACHINE],
            id="paused",
        ),
        pytest.param(
            replace(STATUS, state="away", why=("the gateway cannot be reached",), seconds=120),
            [HEAD.replace("2 h 05 min", "2 min 00 s"), "away       the gateway cannot be reached", EARNED, MACHINE],
            id="away",
        ),
        pytest.param(
            replace(STATUS, state="leaving", jobs=(PAINTING,)),
            [HEAD, "leaving    sdxl 1024x768, step 12 of 30, 1 min 15 s", EARNED, MACHINE],
            id="leaving",
        ),
    ],
)
def test_each_state_has_its_screen(status: Status, shown: list[str]) -> None:
    assert list(lines(status)) == shown
