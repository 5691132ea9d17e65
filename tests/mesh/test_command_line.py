"""`horde`, as people and scripts use it: against a running mesh, and starting one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image as Pillow
from tests.mesh.probing import Buckets, png

from horde.cli.local.mesh import LocalMesh, free_ports
from horde.cli.local.roles import Role
from horde.clients.credentials import mesh_folder, write_secret
from horde.testkit.waiting import HANG_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL = ("--width", "64", "--height", "64", "--steps", "4")


class Horde:
    """The command line, with a folder of its own for keys and tokens."""

    def __init__(self, gateway: str, folder: Path) -> None:
        self.folder = folder
        self.gateway = gateway
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HORDE_")},
            "HORDE_GATEWAY": gateway,
            "HORDE_CONFIG_DIR": str(folder / "config"),
        }

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "horde.cli.commands.main",
            *arguments,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """The exit status, the output and what was said on the side."""
        child = await self.start(*arguments)
        output, error = await child.communicate()
        assert child.returncode is not None
        return child.returncode, output.decode(), error.decode()

    async def ask(self, *arguments: str, status: int = 0) -> Any:
        """The one JSON document of a command with --json."""
        got, output, error = await self.run(*arguments, "--json")
        assert got == status, output + error
        return json.loads(output)


@pytest.fixture
def horde(mesh: LocalMesh, tmp_path: Path) -> Horde:
    return Horde(mesh.gateway, tmp_path)


async def test_an_account_is_opened_and_its_key_is_used_from_then_on(horde: Horde) -> None:
    opened = await horde.ask("account", "create", "anna")
    key_file = mesh_folder(horde.gateway, horde.folder / "config") / "api-key"
    assert opened["kept_in"] == str(key_file)
    assert key_file.read_text().strip() == opened["api_key"]
    assert key_file.stat().st_mode & 0o777 == 0o600
    shown = await horde.ask("account", "show")
    assert shown["account"]["account_id"] == opened["account"]["account_id"]
    another = await horde.ask("account", "keys", "create", "laptop", "--scope", "generate")
    listed = await horde.ask("account", "keys", "list")
    assert [key["label"] for key in listed["keys"]][-1] == "laptop"
    await horde.ask("account", "keys", "revoke", "laptop")
    refused = await horde.ask("generate", "x", "--api-key", another["api_key"], *SMALL, status=4)
    assert refused["error"]["reason"] == "API_KEY_UNKNOWN"


async def test_a_picture_is_painted_saved_and_accounted_for(horde: Horde, mesh: LocalMesh) -> None:
    await horde.ask("account", "create", "bert")
    out = horde.folder / "pictures"
    made = await horde.ask("generate", "a red fox", "-n", "2", "--share", "--out", str(out), *SMALL)
    files = list(made["files"].values())
    assert len(files) == 2
    for file in files:
        with Pillow.open(file) as image:
            assert image.size == (64, 64)
        assert Buckets(mesh).where(Path(file).read_bytes()) == [2]
    images = made["generation"]["images"]
    assert {image["ending"] for image in images} == {"JOB_ENDING_DONE"}
    statement = await horde.ask("kudos", "statement")
    events = {entry["event_id"] for entry in statement["entries"]}
    assert {image["settlement"]["event_id"] for image in images} <= events
    status, text, _ = await horde.run("kudos", "statement")
    assert status == 0
    assert "tax" in text
    assert images[0]["settlement"]["event_id"] in text
    listed = await horde.ask("generations", "list")
    generation_id = made["generation"]["generation_id"]
    assert [each["generation_id"] for each in listed["generations"]] == [generation_id]
    fetched = await horde.ask("fetch", generation_id[:8], "--out", str(out / "again"))
    assert sorted(Path(file).read_bytes() for file in fetched["files"].values()) == sorted(
        Path(file).read_bytes() for file in files
    )
    withdrawn = await horde.ask("generations", "withdraw", generation_id[:6])
    assert set(withdrawn["outcomes"].values()) == {"withdrawn"}


async def test_a_shared_key_paints_at_its_owners_expense_and_within_its_bounds(horde: Horde) -> None:
    await horde.ask("account", "create", "dora")
    typed = ("--budget", "20", "--max-steps", "4", "--max-count", "1")
    shared = await horde.ask("account", "shared", "create", "for emil", *typed)
    holder = ("--api-key", shared["secret"])
    made = await horde.ask("generate", "a red fox", "--out", str(horde.folder), *holder, *SMALL)
    (image,) = made["generation"]["images"]
    assert image["ending"] == "JOB_ENDING_DONE"
    (key,) = (await horde.ask("account", "shared"))["keys"]
    paid = image["settlement"]
    assert int(key["spent_mkudos"]) == int(paid["charged_mkudos"]) + int(paid["from_subsidy_mkudos"]) > 0
    listed = await horde.ask("generations", "list", *holder)
    assert [each["generation_id"] for each in listed["generations"]] == [made["generation"]["generation_id"]]
    refused = await horde.ask("generate", "two", "-n", "2", *holder, *SMALL, status=1)
    assert refused["error"]["reason"] == "SHARED_KEY_BOUND"


async def test_people_see_the_price_the_placement_and_the_entry(horde: Horde) -> None:
    status, text, error = await horde.run("generate", "a house", "--anonymous", "--out", str(horde.folder), *SMALL)
    assert status == 0, error
    assert "1.000 tax" in text
    assert "shared bucket: anonymous text to image is always shared" in text
    assert "ledger event" in text
    assert "image 0  done" in error


async def test_a_dry_run_changes_nothing(horde: Horde) -> None:
    quoted = await horde.ask("generate", "a house", "--dry-run", "--image", str(_picture(horde.folder)), *SMALL)
    assert quoted["quote"]["placement"] == "PLACEMENT_PRIVATE"
    assert (await horde.ask("generations", "list"))["generations"] == []


def _picture(folder: Path) -> Path:
    path = folder / "source.png"
    path.write_bytes(png())
    return path


async def test_a_picture_from_a_picture(horde: Horde) -> None:
    source = str(_picture(horde.folder))
    made = await horde.ask(
        "generate", "from it", "--image", source, "--mask", source, "--strength", "0.5",
        "--share", "--anonymous", "--out", str(horde.folder), *SMALL,
    )  # fmt: skip
    assert made["generation"]["images"][0]["placement"] == "PLACEMENT_PRIVATE"


async def test_both_sides_follow_a_dear_picture_on_their_statements(horde: Horde, mesh: LocalMesh) -> None:
    account_id = (await horde.ask("account", "create", "emil"))["account"]["account_id"]
    operator = ("--api-key", mesh.layout.operator_key.read_text().strip())
    await horde.ask("kudos", "award", account_id, "100", "--reason", "for a picture", *operator)
    asked = ("generate", "from it", "--image", str(_picture(horde.folder)), "--strength", "0.5", *SMALL)
    status, text, error = await horde.run(*asked, "--dry-run")
    assert status == 0, error
    assert "0.321 painting (0.247 base x 1.3 source image) + 3.000 tax = 3.321" in text
    made = await horde.ask(*asked, "--out", str(horde.folder))
    image = made["generation"]["images"][0]
    event_id = image["settlement"]["event_id"]

    # 64x64 at 4 steps of half strength: 0.1232 x 4 x 0.5 = 0.2464, up; x 1.3 = 0.32032, up.
    parts = {"base_mkudos": "247", "price_mkudos": "321", "tax_mkudos": "3000", "total_mkudos": "3321"}
    multipliers = [{"reason": "MULTIPLIER_REASON_SOURCE_IMAGE", "permille": 1300}]
    assert made["generation"]["quote"]["per_image"].items() >= parts.items()

    owner = ("--api-key", mesh.layout.worker_key.read_text().strip())
    requester_sees, owner_sees = await horde.ask("kudos", "statement"), await horde.ask("kudos", "statement", *owner)
    for seen in (requester_sees, owner_sees):
        (entry,) = [each for each in seen["entries"] if each["event_id"] == event_id]
        settlement = entry["settlement"]
        assert settlement["quoted"].items() >= parts.items()
        assert settlement["quoted"]["multipliers"] == multipliers
        assert (settlement["earned_mkudos"], settlement["to_spend_mkudos"]) == ("321", "160")
        assert (settlement["to_escrow_mkudos"], settlement["tax_mkudos"]) == ("161", "3000")
        moved = {each["code"].removeprefix("TRANSFER_CODE_"): each for each in entry["transfers"]}
        assert {code: each["amount_mkudos"] for code, each in moved.items()} == {
            "EARNING": "160", "EARNING_ESCROW": "161", "TAX": "3000",
        }  # fmt: skip
    assert moved["EARNING"]["credit"]["account_id"] == owner_sees["account_id"] != account_id

    for reader, what in (((), "image paid"), (owner, "image painted")):
        status, text, _ = await horde.run("kudos", "statement", *reader)
        assert status == 0
        # The lines of this entry: from its number to the event's id.
        line = text[: text.index(f"event {event_id}")].rpartition("\n#")[2]
        assert what in line
        assert f"job {image['job_id']}" in line
        said = " ".join(line.split())
        for part in (
            "with paintbox by worker",
            "base 0.247 x 1.3 source image",
            "price 0.321",
            f"at once 0.160 transfer {moved['EARNING']['transfer_id']}",
            "in escrow 0.161 half is paid out once the mesh trusts the owner "
            f"transfer {moved['EARNING_ESCROW']['transfer_id']}",
            f"tax 3.000 burned transfer {moved['TAX']['transfer_id']}",
            "charged to the requester 3.321",
        ):
            assert part in said, said


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (("generate", "x", "--width", "68"), 2, "INVALID_FIELD"),
        (("generate", "x", "--max-price", "0.001", *SMALL), 3, "PRICE_ABOVE_MAXIMUM"),
        (("account", "show", "--anonymous"), 4, "ACCOUNT_REQUIRED"),
        (("generate", "x", "--api-key", "nonsense"), 4, None),
        (("generations", "show", "6f1a3a1e-2d0c-4c6e-9b57-0b6c8f6d4a11"), 5, "GENERATION_NOT_FOUND"),
        (("workers", "list", "--gateway", "127.0.0.1:1", "--patience", "0.2"), 6, ""),
        (("generate", "[fail]", *SMALL), 7, None),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
async def test_scripts_can_tell_ends_apart(
    horde: Horde, arguments: tuple[str, ...], status: int, reason: str | None
) -> None:
    document = await horde.ask(
        *arguments, *(("--out", str(horde.folder)) if arguments[0] == "generate" else ()), status=status
    )
    if reason is not None:
        assert document["error"]["reason"] == reason


async def test_ctrl_c_cancels_and_keeps_what_is_finished(horde: Horde) -> None:
    child = await horde.start("generate", "[slow:0.2]", "-n", "6", "--out", str(horde.folder / "kept"), *SMALL)
    assert child.stderr is not None
    async for line in child.stderr:
        if b"done" in line:
            break
    child.send_signal(signal.SIGINT)
    output, error = await child.communicate()
    assert child.returncode == 130
    assert b"horde watch" not in error
    kept = list((horde.folder / "kept").iterdir())
    assert 1 <= len(kept) <= 6
    assert b"cancelled" in output or len(kept) == 6
    generation_id = output.decode().split()[1]
    assert f"horde fetch {generation_id}" in error.decode()


async def test_what_was_killed_is_followed_again_by_the_first_digits_of_its_first_line(horde: Horde) -> None:
    child = await horde.start("generate", "[slow:0.2]", "-n", "3", "--anonymous", *SMALL)
    assert child.stdout is not None
    first = (await child.stdout.readline()).decode().split()
    child.kill()
    await child.communicate()
    assert first[0] == "generation"
    prefix = first[1][:8]
    listed = await horde.run("generations", "--anonymous")
    assert prefix in listed[1]
    out = horde.folder / "again"
    status, text, error = await horde.run("watch", prefix, "--anonymous", "--out", str(out))
    assert status == 0, error
    assert text.splitlines()[0] == f"generation {first[1]}"
    assert sorted(path.name for path in out.iterdir()) == [f"{prefix}-{number}.webp" for number in range(3)]
    fetched = await horde.ask("fetch", prefix, "--anonymous", "--out", str(horde.folder / "fetched"))
    assert len(fetched["files"]) == 3
    shown = await horde.ask("generations", "show", prefix, "--anonymous")
    assert shown["generation"]["generation_id"] == first[1]
    await horde.ask("generations", "withdraw", prefix, "1", "--anonymous")
    missing = await horde.ask("fetch", prefix, "--anonymous", "--out", str(out), status=7)
    assert list(missing["missing"].values()) == ["Image 1 was withdrawn."]


async def test_the_place_is_tried_before_anything_is_spent(horde: Horde) -> None:
    await horde.ask("account", "create", "fritz")
    before = await horde.ask("kudos", "balance")
    status, text, error = await horde.run("generate", "x", "--out", "/proc/foo", *SMALL)
    assert status == 2
    assert text == ""
    assert "--out /proc/foo" in error
    assert (await horde.ask("generations", "list"))["generations"] == []
    assert await horde.ask("kudos", "balance") == before


async def test_who_has_not_the_kudos_is_told_the_ways_out_in_kudos(horde: Horde) -> None:
    await horde.ask("account", "create", "gerd")
    asked = ("generate", "a house", "-n", "5", "--width", "512", "--height", "512", "--steps", "50")
    status, text, error = await horde.run(*asked, "--out", str(horde.folder))
    assert (status, text) == (3, "")
    assert "you can pay 60.000 kudos" in error
    assert "this needs 69.135 kudos" in error
    assert "--share: give it to research, 59.135 instead of 69.135" in error
    assert "-n 4: 4 images for 55.308" in error
    for way in ("--width 384 --height 384: smaller", "horde worker join", "00:00 UTC", "--anonymous"):
        assert way in error
    assert "mkudos" not in error
    assert "--request-id" not in error
    assert (await horde.ask("generations", "list"))["generations"] == []


async def test_a_mistyped_model_is_not_waited_for(horde: Horde) -> None:
    await horde.ask("account", "create", "hans")
    refused = await horde.ask("generate", "x", "--model", "Paintbux", *SMALL, status=5)
    assert refused["error"]["reason"] == "MODEL_UNKNOWN"
    assert refused["error"]["metadata"]["did_you_mean"] == "paintbox"
    assert "did you mean paintbox?" in (await horde.run("generate", "x", "--model", "Paintbux", *SMALL))[2]
    assert (await horde.ask("generations", "list"))["generations"] == []
    waiting = await horde.ask(
        "generate", "x", "--model", "Paintbux", "--wait-for-model", "--no-wait", "--out", str(horde.folder), *SMALL
    )
    generation_id = waiting["generation"]["generation_id"]
    cancelled = await horde.ask("generations", "cancel", generation_id[:8])
    assert cancelled["generation"]["generation_id"] == generation_id


async def test_the_consent_is_shown_before_the_first_share_and_not_again(horde: Horde) -> None:
    asked = ("generate", "a house", "--share", "--anonymous", "--out", str(horde.folder), *SMALL)
    first, again = await horde.run(*asked), await horde.run(*asked)
    assert (first[0], again[0]) == (0, 0)
    assert "# Sharing pictures with research: consent 2026-11" in first[2]
    assert "# Sharing pictures" not in again[2]
    shown = await horde.ask("consent")
    assert shown["text"] in first[2]


async def test_a_key_is_kept_for_its_mesh_and_forgotten(horde: Horde) -> None:
    opened = await horde.ask("account", "create", "inge", "--no-keep")
    refused = await horde.ask("account", "show", status=4)
    assert refused["error"]["reason"] == "ACCOUNT_REQUIRED"
    kept = await horde.ask("login", "--api-key", opened["api_key"])
    assert (await horde.ask("account"))["account"]["account_id"] == kept["account_id"]
    assert await horde.ask("logout") == {"forgotten": True}
    assert await horde.ask("logout") == {"forgotten": False}
    await horde.ask("login", "--api-key", opened["api_key"])
    status, _, error = await horde.run("account", "--api-key", opened["api_key"][:-3] + "xyz")
    assert status == 4
    assert "The key is from the key given; `horde login` keeps another." in error
    wrong = await horde.ask("login", "--api-key", opened["api_key"][:-3] + "xyz", status=4)
    assert wrong["error"]["reason"] == "API_KEY_UNKNOWN"


async def test_workers_and_models_are_listed(horde: Horde) -> None:
    workers = await horde.ask("workers", "list")
    assert {worker["name"] for worker in workers["workers"]} == {"anna", "bert", "cleo"}
    models = await horde.ask("models")
    assert [model["name"] for model in models["models"]] == ["paintbox"]
    status, text, _ = await horde.run("workers")
    assert status == 0
    assert "anna" in text
    status, text, _ = await horde.run("models")
    assert status == 0
    assert "from an image, with a mask" in text


async def test_an_operator_awards_and_audits_and_others_do_not(horde: Horde, mesh: LocalMesh) -> None:
    opened = await horde.ask("account", "create", "cleo")
    account_id = opened["account"]["account_id"]
    operator = ("--api-key", mesh.layout.operator_key.read_text().strip())
    refused = await horde.ask("kudos", "award", account_id, "12.5", "--reason", "kind", status=4)
    assert refused["error"]["reason"] == "ROLE_MISSING"
    await horde.ask("kudos", "award", account_id, "12.5", "--reason", "kind", *operator)
    assert (await horde.ask("kudos", "balance"))["spend"]["posted_mkudos"] == "12500"
    audit = await horde.ask("kudos", "audit", *operator)
    assert audit["audit"]["sum_of_all_mkudos"] == "0"
    assert audit["audit"]["first_finding"] == ""
    other = Horde(mesh.gateway, horde.folder / "other")
    recipient = (await other.ask("account", "create", "dora"))["account"]["account_id"]
    await horde.ask("kudos", "gift", recipient, "2", "--message", "thanks")
    assert (await other.ask("kudos", "balance"))["spend"]["posted_mkudos"] == "2000"
    dear = await horde.ask("kudos", "gift", recipient, "1000", status=3)
    assert dear["error"]["reason"] == "INSUFFICIENT_KUDOS"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_up_starts_a_mesh_and_stops_it_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    horde = Horde("", tmp_path)
    child = await horde.start("up", "--ephemeral", "--painter", "scripted", "--workers", "1", "--quiet")
    assert child.stderr is not None
    said = b""
    async for line in child.stderr:
        said += line
        if b"horde generate" in line:
            break
    gateway = line.decode().rpartition("--gateway ")[2].strip()
    assert gateway, said
    children = psutil.Process(child.pid).children(recursive=True)
    assert len(children) >= 5
    assert child.stdout is not None
    status, _, error = await Horde(gateway, tmp_path).run("generate", "x", "--out", str(tmp_path), *SMALL)
    assert status == 0, error
    child.send_signal(number)
    await child.communicate()
    assert child.returncode == 0
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


async def test_when_up_is_killed_its_services_go_with_it(tmp_path: Path) -> None:
    horde = Horde("", tmp_path)
    child = await horde.start("up", "--ephemeral", "--painter", "scripted", "--workers", "0")
    assert child.stderr is not None
    async for line in child.stderr:
        if b"horde generate" in line:
            break
    children = psutil.Process(child.pid).children(recursive=True)
    assert children
    child.kill()
    await child.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, HANG_SECONDS)
    assert not alive


async def test_serve_starts_one_service(tmp_path: Path) -> None:
    from horde.cli.local.mesh import says_serving

    horde = Horde("", tmp_path)
    address = f"127.0.0.1:{free_ports([Role.LEDGER])[Role.LEDGER]}"
    write_secret(tmp_path / "key", "00" * 32)
    horde.environment |= {
        "HORDE_LEDGER_LISTEN": address,
        "HORDE_LEDGER_STATE_DIR": str(tmp_path / "ledger"),
        "HORDE_LEDGER_KEY_FILE": str(tmp_path / "key"),
    }
    child = await horde.start("serve", "ledger")
    async with asyncio.timeout(HANG_SECONDS):
        await says_serving(address)
    child.send_signal(signal.SIGTERM)
    await child.communicate()
    assert child.returncode == 0


async def test_help_loads_nothing_that_it_does_not_need(horde: Horde) -> None:
    code = (
        "import sys,runpy; sys.argv=['horde','--help']\n"
        "try: runpy.run_module('horde.cli.commands.main', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy=[m for m in ('grpc','google.protobuf','rich','PIL','torch','pydantic') if m in sys.modules]\n"
        "print('HEAVY', heavy)"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    assert output.decode().splitlines()[-1] == "HEAVY []"


async def test_those_who_run_a_horde_restrict_and_people_see_it_and_appeal(horde: Horde, mesh: LocalMesh) -> None:
    opened = await horde.ask("account", "create", "standing-anna")
    account = opened["account"]["account_id"]
    shown = (await horde.ask("standing"))["standing"]
    assert not shown["trusted"]
    assert shown["sentences"]
    assert (await horde.ask("standing", "strikes"))["strikes"] == []
    operator = ("--api-key", mesh.layout.operator_key.read_text().strip())
    pause = ("operator", "pause", "--requester", account, "--reason", "a test", "--for", "1h")
    paused = (await horde.ask(*pause, *operator))["restriction"]
    status, _, error = await horde.run("generate", "a fox", *SMALL)
    assert status != 0
    assert "a test" in error
    await horde.ask("standing", "appeal", paused["restriction_id"], "It was not me.")
    (listed,) = (await horde.ask("operator", "restrictions", "--appealed", *operator))["restrictions"]
    assert listed["appeal_note"] == "It was not me."
    await horde.ask("operator", "lift", paused["restriction_id"], "--reason", "right", *operator)
    trusted = await horde.ask("operator", "trust", account, "--reason", "a friend", *operator)
    assert trusted["standing"]["trusted"]
    amnesty = ("operator", "amnesty", "--from", "2026-11-26T10:00", "--until", "2026-11-26T11:00", "--reason", "x")
    assert "amnesty" in await horde.ask(*amnesty, *operator)
    status, _, _ = await horde.run("operator", "ban", "--reason", "nobody named", *operator)
    assert status == 2
    assert (await horde.ask("standing"))["standing"]["by_decree"]


async def test_a_sweep_goes_on_where_it_was_left_and_pays_once(mesh: LocalMesh, tmp_path: Path) -> None:
    horde = Horde(mesh.gateway, tmp_path)
    prompts, folder = tmp_path / "prompts.txt", tmp_path / "out"
    prompts.write_text("# stars\na red star\n\na star that fails [fail]\na red star\na blue star\n", "utf-8")
    words = ("sweep", str(prompts), "--seeds", "1-2", "--size", "64x64", "--steps", "4", "--out", str(folder))

    priced = await horde.ask(*words, "--dry-run")
    assert priced["pictures"] == 6
    assert not list(folder.glob("*"))

    first = await horde.ask(*words, status=7)
    assert (first["pictures"], len(first["files"]), len(first["missing"])) == (6, 4, 2)
    assert all("faulted" in why for why in first["missing"].values())
    asked = (await horde.ask("generations", "list"))["generations"]
    assert len(asked) == 6

    lost = Path(next(iter(first["files"].values())))
    content = lost.read_bytes()
    lost.unlink()
    again = await horde.ask(*words, status=7)
    assert again["files"] == first["files"]
    assert lost.read_bytes() == content
    lost.unlink()
    await horde.ask(*words, "--metadata", status=7)
    assert b"star</rdf:li>" in lost.read_bytes()
    assert len((await horde.ask("generations", "list"))["generations"]) == 6, "nothing was asked for anew"
