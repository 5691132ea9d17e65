"""Clients of AI Horde as they come, against a mesh on this machine: `python web-door/trials/run.py PYTHON [NODE_PATH]`.

PYTHON is that of an environment with horde-sdk and aihorde, NODE_PATH a folder with the npm package. Prints what each
step brought; ends with 1 where one fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from horde.cli.local.mesh import LocalMesh, WorkerPlan, local_mesh
from horde.cli.local.roles import SERVICES, WEB_DOORS, Role
from horde.clients.credentials import AnonymousToken, ApiKey, read_secret

HERE = Path(__file__).parent
MODEL = "a model of the trial"
NODE_PATH = sys.argv[2] if len(sys.argv) > 2 else ""
QUIET = {role: {"LOG_LEVEL": "warning"} for role in Role}
AWARD_MKUDOS = 1_000_000


async def account(mesh: LocalMesh, name: str) -> str:
    """The key of a new account with kudos."""
    async with mesh.client(credential=AnonymousToken("0" * 32)) as nobody:
        opened = await nobody.accounts.create(name)
    async with mesh.client(credential=ApiKey(read_secret(mesh.layout.operator_key) or "")) as operator:
        await operator.kudos.award(opened.account.account_id, AWARD_MKUDOS, reason="a trial")
    return opened.api_key


async def run(program: str, script: str, mesh: LocalMesh, *arguments: str) -> list[dict[str, Any]]:
    """Run a script of the trial; what it said, or SystemExit."""
    child = await asyncio.create_subprocess_exec(
        program,
        str(HERE / script),
        *arguments,
        env={**os.environ, "AI_HORDE_URL": f"{mesh.web}/api/", "PYTHONPATH": "", "NODE_PATH": NODE_PATH},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, noise = await child.communicate()
    lines = [line for line in output.decode().splitlines() if line.startswith("{")]
    for line in lines:
        print(f"  {script}: {line}", flush=True)
    if child.returncode:
        print(noise.decode()[-3_000:], file=sys.stderr)
        raise SystemExit(f"{script} ended with {child.returncode}")
    return [json.loads(line) for line in lines]


async def main(python: str) -> None:
    with tempfile.TemporaryDirectory(prefix="horde-trial-") as folder:
        async with local_mesh(Path(folder), extra=QUIET, services=(*SERVICES, *WEB_DOORS)) as mesh:
            key = await account(mesh, "Rita")
            await mesh.start_worker(WorkerPlan("anna", "scripted"))
            async with mesh.client() as anybody:
                while True:
                    if [model async for model in anybody.models.list()]:
                        break
                    await asyncio.sleep(0.2)
            print("requesters", flush=True)
            await run(python, "horde_sdk_requester.py", mesh, key, "")
            await run(python, "aihorde_requester.py", mesh, key, "")
            if NODE_PATH:
                await run("node", "npm_ai_horde.cjs", mesh, key, "")
            print("a worker, and a requester of its model", flush=True)
            working = asyncio.create_task(run(python, "horde_sdk_worker.py", mesh, key, MODEL))
            async with mesh.client(credential=ApiKey(key)) as rita:
                while MODEL not in [model.name async for model in rita.models.list()]:
                    if working.done():
                        break
                    await asyncio.sleep(0.2)
            await run(python, "horde_sdk_from_picture.py", mesh, key, MODEL)
            await working
    print("all of it worked", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
