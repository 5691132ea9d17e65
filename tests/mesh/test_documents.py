"""What the pages tell people to type is typed here, word for word, against a mesh."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from tests.documents import ALL, ROOT, Block, program
from tests.mesh.probing import png

from horde.cli.local.mesh import LocalMesh, free_ports
from horde.cli.local.roles import Role

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESHES = ("mesh.example:7700", "127.0.0.1:7700")
"""Addresses that stand on pages for the reader's own mesh."""


def starts_a_mesh(block: Block) -> bool:
    """Whether it makes a mesh of its own, process by process."""
    return any(program(command) == "export" for command in block.commands)


def for_operators(block: Block) -> bool:
    """Whether it is about processes, databases and clusters that are not in this test: others type it."""
    return any(re.match(r"kubectl|horde (doctor|backup|keys)\b", command) for command in block.commands)


def asks_a_mesh(block: Block) -> bool:
    """Whether it does something with a mesh that is there already. Data releases read a bucket instead, and what learns
    from them a folder."""
    elsewhere = (" release ", " ratings train ", " ratings evaluate ", " storage ")
    return (
        not starts_a_mesh(block)
        and not for_operators(block)
        and any(
            program(command) in ("horde", "grpcurl")
            and not any(word in command.partition("#")[0] for word in elsewhere)
            for command in block.commands
        )
    )


class Reader:
    """Somebody who reads a page from its beginning, at a machine of his own."""

    def __init__(self, mesh: LocalMesh, home: Path) -> None:
        self.mesh = mesh
        self.home = home
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HORDE_", "XDG_"))},
            "HOME": str(home),
            "HORDE_GATEWAY": mesh.gateway,
            # Who paints in a test, whatever a page starts.
            "HORDE_WORKER_PAINTER": "scripted",
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        }
        (home / "photo.png").write_bytes(png())
        (home / ".venv").mkdir()
        (home / ".venv" / "bin").symlink_to(Path(sys.executable).parent)

    def here(self, text: str) -> str:
        for address in MESHES:
            text = text.replace(address, self.mesh.gateway)
            text = text.replace(address.replace(":", "+"), self.mesh.gateway.replace(":", "+"))
        return text

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *words,
            cwd=self.home,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def type(self, command: str) -> None:
        """Type a command and see it succeed; what runs until it is told to stop is, once it is at work."""
        child = await self.start(
            "bash", "-c", f"exec {self.here(command)}" if "=" not in command else self.here(command)
        )
        said = b""
        assert child.stdout is not None
        async for line in child.stdout:
            said += line
            if ("serve worker" in command or "worker join" in command) and b"attached" in line:
                child.send_signal(signal.SIGTERM)
        assert await child.wait() == 0, said.decode()


@pytest.fixture
def reader(mesh: LocalMesh, tmp_path: Path) -> Reader:
    return Reader(mesh, tmp_path)


PAGES = sorted({block.page for block in ALL if asks_a_mesh(block)})


@pytest.mark.parametrize("page", PAGES)
async def test_what_a_page_says_to_type_works_in_its_order(page: str, reader: Reader) -> None:
    typed = 0
    for block in ALL:
        if block.page == page and asks_a_mesh(block):
            for command in block.commands:
                await reader.type(command)
                typed += 1
    assert typed


PYTHON = [block for block in ALL if block.language == "python"]


@pytest.mark.parametrize("block", PYTHON, ids=str)
async def test_what_a_page_shows_in_python_runs_as_it_stands(block: Block, reader: Reader) -> None:
    script = reader.home / "example.py"
    script.write_text(reader.here(block.text))
    # Where the reader of a page about a folder of ours would be.
    if "worker-agent/" in block.text:
        reader.home = ROOT
    child = await reader.start(sys.executable, str(script))
    said, _ = await child.communicate()
    assert child.returncode == 0, said.decode()


STARTING = [block for block in ALL if starts_a_mesh(block)]


@pytest.mark.parametrize("block", STARTING, ids=str)
async def test_what_an_operator_is_told_to_type_makes_a_mesh_that_paints(block: Block, tmp_path: Path) -> None:
    ports = free_ports()
    gateway = f"127.0.0.1:{ports[Role.GATEWAY]}"
    told = {f"{role.prefix}LISTEN": f"127.0.0.1:{port}" for role, port in ports.items()}
    # A page names the ports by which services find each other; here others may have them.
    for asking in (Role.SCHEDULER, Role.GATEWAY):
        told |= {
            f"{asking.prefix}{name}": f"127.0.0.1:{ports[role]}"
            for name, role in (("LEDGER", Role.LEDGER), ("STORAGE_ROUTER", Role.STORAGE_ROUTER))
        }
    told |= {f"{Role.GATEWAY.prefix}SCHEDULER": f"127.0.0.1:{ports[Role.SCHEDULER]}"}
    told |= {"HORDE_GATEWAY": gateway, "HORDE_WORKER_GATEWAY": gateway, "HORDE_WORKER_PAINTER": "scripted"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HORDE_", "XDG_"))}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    script = block.text.replace(MESHES[1].replace(":", "+"), gateway.replace(":", "+"))
    # A person sees that it serves before typing on, and ends what was started.
    waiting = f"import asyncio, horde.cli.local.mesh as m; asyncio.run(m.says_serving('{gateway}'))"
    script = script.replace("horde account", f'python -c "{waiting}"\nhorde account', 1)
    ended = "trap 'kill $(jobs -p); wait' EXIT\n"
    typed = await asyncio.create_subprocess_exec(
        "bash",
        "-ec",
        ended + script,
        cwd=tmp_path,
        env={**kept, **told, "HOME": str(tmp_path), "PATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await typed.communicate()
    assert typed.returncode == 0, said.decode()
    assert list(tmp_path.glob("*.png")) + list(tmp_path.glob("*.webp")), said.decode()


async def test_an_operators_page_says_how_to_start() -> None:
    assert STARTING
