"""Puts a driver through cases, and says of each what came of it."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from horde.cli.conform.cases.reading import Case, Json, Step, filled
from horde.cli.conform.drivers import CANNOT_SAY, Driver, Refused
from horde.cli.conform.fake_mesh import FakeMesh
from horde.cli.conform.invariants import INVARIANTS
from horde.cli.conform.matching import Variables, at, differences
from horde.cli.conform.script import not_heard, rehearse
from horde.clients.credentials import (
    ANONYMOUS_TOKEN_FILE,
    mesh_folder,
    new_anonymous_token,
    new_api_key,
    write_secret,
)

HAVE_SPECS: Final = frozenset({"quote", "generate"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a case."""

    case: str
    passed: bool
    skipped: bool = False
    why: str = ""


class Unsaid(Exception):
    """There is no way to ask for this at this door; why."""


@dataclass(slots=True)
class Suite:
    """Runs cases with one driver at one gateway."""

    driver: Driver
    target: str
    model: str
    have: set[str]
    """Which `needs` of cases are met."""
    patience_seconds: float = 30.0
    clerk: Driver | None = None
    """Opens accounts where the driver itself cannot."""
    fake: FakeMesh | None = None
    """The gateway of the kit, if that is the one: cases may say what it does, and look at what it heard."""
    spec: Json = field(default_factory=dict)
    _opened: dict[str, Json] = field(default_factory=dict)
    _folder: str = ""

    async def run(self, cases: Iterable[Case]) -> AsyncIterator[Verdict]:
        """The verdicts, in the order of the cases. Raises DriverFailed."""
        self.spec = {
            "job": {
                "model": self.model,
                "image": {"prompt": "a red star on a blue background", "width": 64, "height": 64, "steps": 4},
            },
            "count": 1,
        }
        with tempfile.TemporaryDirectory() as self._folder:
            for case in cases:
                if case.unsaid:
                    yield Verdict(case.name, passed=False, skipped=True, why=case.unsaid)
                elif lacking := case.needs - self.have:
                    yield Verdict(case.name, passed=False, skipped=True, why=f"needs {', '.join(sorted(lacking))}")
                else:
                    yield await self._run(case)
            for name in self._opened:
                await self.driver.do("close", client=name)
            self._opened.clear()

    async def _run(self, case: Case) -> Verdict:
        variables = Variables(
            model=self.model,
            folder=self._folder,
            target=self.target,
            key=new_api_key(),
            png=picture((0, 0, 128)),
            another_png=picture((128, 0, 0)),
        )
        if self.fake is not None:
            rehearse(self.fake, case.script)
            variables.keep("mute", self.fake.mute_address)
        for number, step in enumerate(case.steps, 1):
            try:
                wrong = list(await self._step(step, variables))
            except Unsaid as error:
                return Verdict(case.name, passed=False, skipped=True, why=str(error))
            except (Refused, KeyError) as error:
                wrong = [f"{type(error).__name__}: {error}"]
            if wrong:
                return Verdict(case.name, passed=False, why=f"step {number}, {step.op}: {'; '.join(wrong)}")
        return Verdict(case.name, passed=True)

    async def _step(self, step: Step, variables: Variables) -> list[str]:
        arguments = dict(step.arguments)
        if "as" in arguments:
            arguments["client"] = await self._client(arguments.pop("as"), variables)
        spec = arguments.pop("spec", {})
        arguments = variables.fill(arguments)
        if step.op == "heard":
            assert self.fake is not None
            return list(not_heard(self.fake, arguments["method"], variables.fill(step.expect)))
        if step.op == "keep_token":
            # As the command line, or another SDK, would have left one for this mesh.
            token = new_anonymous_token()
            write_secret(mesh_folder(arguments["target"], Path(self._folder)) / ANONYMOUS_TOKEN_FILE, token.digits)
            variables.keep("authorization", token.authorization)
            return []
        if step.op in HAVE_SPECS:
            arguments["spec"] = filled(self.spec, spec, variables)
        try:
            answer = await self.driver.do(step.op, **arguments)
        except Refused as refused:
            if refused.error.get("code") == CANNOT_SAY:
                raise Unsaid(refused.error.get("message", "")) from None
            if step.error is None:
                raise
            return list(_not_the_error(variables.fill(step.error), refused.error))
        if step.error is not None:
            return [f"it was taken, instead of {step.error}"]
        wrong = list(differences(variables.fill(step.expect), answer))
        for name in step.holds:
            wrong += INVARIANTS[name](answer)
        for name, path in step.save.items():
            variables.keep(name, at(answer, path))
        return wrong

    async def _client(self, name: str, variables: Variables) -> str:
        """A client by name: `nobody…` is anonymous, `account…` has its own account, `stranger` a key of nobody."""
        if name not in self._opened:
            how: Json = {"client": name, "target": self.target, "patience_seconds": self.patience_seconds}
            if name.startswith("account"):
                how["api_key"] = await self._open_account(name)
            elif name == "stranger":
                how["api_key"] = new_api_key()
            elif name == "malformed":
                how["api_key"] = "short"
            else:
                how["anonymous"] = new_anonymous_token().digits
            await self.driver.do("open", **how)
            self._opened[name] = how
        if name.startswith("account"):
            variables.keep("api_key", self._opened[name].get("api_key"))
        return name

    async def _open_account(self, name: str) -> str:
        key = new_api_key()
        request = {"request_id": Variables().fill("$new"), "display_name": name, "api_key": key}
        clerk, anonymous = self.clerk or self.driver, new_anonymous_token().digits
        await clerk.do("open", client="opener", target=self.target, anonymous=anonymous)
        method = "horde.api.account.v1.AccountService/CreateAccount"
        await clerk.do("call", client="opener", method=method, request=request)
        await clerk.do("close", client="opener")
        return key


def picture(colour: tuple[int, int, int]) -> str:
    """A PNG of 64 x 64 of one colour, in base64."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _not_the_error(expected: Any, error: Json) -> list[str]:
    wanted = dict(expected)
    fields = wanted.pop("violations", [])
    # Where a door has one code for several reasons, it is any of them.
    wrong = min((list(differences(wanted, error | other)) for other in ({}, *error.get("or", []))), key=len)
    named = error.get("violations", [])
    wrong += [f"no violation of {name}, only {named}" for name in fields if not _names(named, name)]
    return wrong


def _names(violations: list[str], name: str) -> bool:
    """Whether a field, or a part of it, is among the violations."""
    return any(named == name or named.startswith((f"{name}.", f"{name}[")) for named in violations)


async def needs_met(driver: Driver, target: str, model: str) -> set[str]:
    """What a gateway has of what cases need. Raises Refused, DriverFailed."""
    await driver.do("open", client="looking", target=target, anonymous=new_anonymous_token().digits)
    try:
        mesh = await driver.do("call", client="looking", method="horde.api.mesh.v1.MeshService/GetMesh", request={})
        have = {"account"} if mesh["response"].get("registration_open") else set()
        try:
            listed = await driver.do(
                "call", client="looking", method="horde.api.model.v1.ModelService/GetModel", request={"name": model}
            )
            if at(listed, "response.model.workers"):
                have.add("worker")
        except Refused:
            pass
        return have
    finally:
        await driver.do("close", client="looking")
