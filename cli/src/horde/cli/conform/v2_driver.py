"""The driver of AI Horde's REST API: what one of its clients says and hears, and nothing else.

What that form has no words for is CANNOT_SAY with the reason; of what it tells, answers hold what has a name in the
contract. A code of AI Horde that stands for several reasons of the contract is any of them (`or`).
"""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote as quoted
from urllib.parse import urlsplit, urlunsplit

from horde.cli.conform.over_http import Caller, Json, Unsaid, answer_lines
from horde.cli.conform.python_driver import digested
from horde.cli.conform.v2_words import body_of, generation_of, refusal

ANONYMOUS: Final = "0000000000"
POLL_SECONDS: Final = 0.1
KEY: Final = "apikey"
FOLLOWING_SECONDS: Final = 60.0
MOST_DENIED: Final = 5


@dataclass(slots=True)
class Session:
    """A request that somebody made, or follows: whoever has its id."""

    caller: Caller
    generation: Json
    cancels: bool = False


@dataclass(slots=True)
class Driver:
    """Callers, requests and pictures by name, and the operations on them."""

    clients: dict[str, Caller] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    """Pictures, base64, that go with the request which names them."""
    keys: dict[str, str] = field(default_factory=dict)
    """Shared keys as the door has made them, by those that a case has thought of."""

    def open(self, client: str, target: str, api_key: str = "", **_: Any) -> Json:
        key = self.keys.get(api_key, api_key) or ANONYMOUS
        self.clients[client] = Caller(target.rstrip("/"), {KEY: key}, refusal)
        return {}

    def close(self, client: str) -> Json:
        del self.clients[client]
        return {}

    def call(self, client: str, method: str, request: Json) -> Json:
        say = CALLS.get(method.rpartition("/")[2])
        if say is None:
            raise Unsaid(f"there is nothing like {method.rpartition('/')[2]}")
        return {"response": say(self, self.clients[client], request)}

    def quote(self, client: str, spec: Json) -> Json:
        accepted = self._ask(self.clients[client], spec, dry_run=True)
        return {"quote": {"total_mkudos": round(accepted["kudos"] * 1_000)}}

    def generate(
        self,
        client: str,
        spec: Json,
        request_id: str | None = None,
        max_total_mkudos: int | None = None,
        cancels: bool = True,
    ) -> Json:
        if request_id is not None:
            raise Unsaid("the door makes the ids of requests")
        if max_total_mkudos is not None:
            raise Unsaid("a request names no highest price")
        caller = self.clients[client]
        accepted = self._ask(caller, spec)
        answer = self._enter(caller, accepted["id"], cancels)
        answer["generation"]["message"] = accepted.get("message", "")
        answer["generation"]["quote"]["total_mkudos"] = round(accepted["kudos"] * 1_000)
        return answer

    def following(self, client: str, generation_id: str) -> Json:
        return self._enter(self.clients[client], generation_id, cancels=False)

    def watch(self, session: str, **_: Any) -> Json:
        """Ask until it is done, as clients do."""
        watched, ends = self.sessions[session], time.monotonic() + FOLLOWING_SECONDS
        while not _json(watched.caller, "GET", f"generate/check/{watched.generation['generation_id']}")["done"]:
            if time.monotonic() > ends:
                raise TimeoutError(f"not done in {FOLLOWING_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
        watched.generation = _generation(watched.caller, watched.generation["generation_id"])
        return {"generation": watched.generation}

    def pictures(self, session: str) -> Json:
        self.watch(session)
        watched = self.sessions[session]
        found = [
            {"index": number, **digested(_linked(image["img"]))}
            for number, image in enumerate(watched.generation["images"])
        ]
        return {"pictures": found, "generation": watched.generation}

    def fetch(self, client: str, generation_id: str, job_id: str) -> Json:
        raise Unsaid("a picture is fetched by the link in the status alone")

    def put(self, client: str, content: str, input_id: str | None = None) -> Json:
        """Keep a picture for the request that names it: pictures go in its body."""
        if input_id is not None:
            raise Unsaid("pictures go with the request, and have no id")
        name = str(uuid.uuid4())
        self.inputs[name] = content
        return {"input": {"input_id": name, "sha256": digested(base64.b64decode(content))["sha256"]}}

    def cancel(self, session: str) -> Json:
        cancelled = self.sessions[session]
        name = cancelled.generation["generation_id"]
        cancelled.generation = generation_of(name, _json(cancelled.caller, "DELETE", f"generate/status/{name}"))
        return {"generation": cancelled.generation}

    def leave(self, session: str) -> Json:
        left = self.sessions[session]
        left.generation = _generation(left.caller, left.generation["generation_id"])
        if left.cancels and not left.generation["finished"]:
            self.cancel(session)
        del self.sessions[session]
        return {"generation": left.generation}

    def _enter(self, caller: Caller, request: str, cancels: bool) -> Json:
        name = f"session {len(self.sessions)} {request}"
        self.sessions[name] = Session(caller, _generation(caller, request), cancels)
        return {"session": name, "generation": self.sessions[name].generation}

    def _ask(self, caller: Caller, spec: Json, **more: Any) -> Json:
        body = body_of(spec, self.inputs)
        if spec.get("wait_for_model"):
            body |= _for_nobody(caller)
        accepted: Json = _json(caller, "POST", "generate/async", {**body, **more})
        return accepted


def _for_nobody(caller: Caller) -> Json:
    """What makes a request wait: a model that nobody has is refused there, so everybody who is here is denied."""
    workers = [worker["id"] for worker in _json(caller, "GET", "workers")]
    if not 0 < len(workers) <= MOST_DENIED:
        raise Unsaid("nothing waits where nobody is, and not all of many can be denied")
    return {"models": [], "workers": workers, "worker_blacklist": True}


def _json(caller: Caller, verb: str, path: str, body: Json | None = None) -> Any:
    raw = None if body is None else json.dumps(body).encode()
    return json.loads(caller.ask(verb, f"/api/v2/{path}", raw))


def _linked(url: str) -> bytes:
    """A picture, as whoever has the link fetches it: without a key."""
    parts = urlsplit(url)
    return Caller(f"{parts.scheme}://{parts.netloc}", {}, refusal).ask("GET", urlunsplit(("", "", *parts[2:])))


def _generation(caller: Caller, request: str) -> Json:
    if not re.fullmatch(r"[0-9a-f-]{36}", request):
        raise Unsaid("the id of a request is a UUID")
    return generation_of(request, _json(caller, "GET", f"generate/status/{request}"))


def _model(driver: Driver, caller: Caller, request: Json) -> Json:
    found = _json(caller, "GET", f"status/models/{quoted(request['name'], safe='')}")[0]
    return {"model": {"name": found["name"], "workers": found["count"]}}


def _models(driver: Driver, caller: Caller, request: Json) -> Json:
    found = _json(caller, "GET", "status/models")
    return {"models": [{"name": model["name"], "workers": model["count"]} for model in found]}


def _worker(driver: Driver, caller: Caller, request: Json) -> Json:
    found = _json(caller, "GET", f"workers/{request['worker_id']}")
    return {"worker": {"worker_id": found["id"], "name": found["name"]}}


def _workers(driver: Driver, caller: Caller, request: Json) -> Json:
    found = _json(caller, "GET", "workers")
    return {"workers": [{"worker_id": worker["id"], "name": worker["name"]} for worker in found]}


def _account(driver: Driver, caller: Caller, request: Json) -> Json:
    if caller.headers[KEY] == ANONYMOUS:
        raise Unsaid("anonymous is a user like others there, Anonymous#0")
    found = _json(caller, "GET", "find_user")
    name, _, number = found["username"].rpartition("#")
    return {"account": {"account_id": number, "display_name": name}}


def _accounts(driver: Driver, caller: Caller, request: Json) -> Json:
    return {"accounts": _json(caller, "GET", "users")}


def _gift(driver: Driver, caller: Caller, request: Json) -> Json:
    body = {"username": f"somebody#{request['to_account_id']}", "amount": request["amount_mkudos"] / 1_000}
    return {"given": _json(caller, "POST", "kudos/transfer", body)}


def _share_key(driver: Driver, caller: Caller, request: Json) -> Json:
    body = {"name": request["label"], "kudos": request["budget_mkudos"] // 1_000}
    made = _json(caller, "PUT", "sharedkeys", body)
    driver.keys[request["key"]] = made["id"]
    return {"key": {"shared_key_id": made["id"]}}


def _revoke_shared_key(driver: Driver, caller: Caller, request: Json) -> Json:
    return {"revoked": _json(caller, "DELETE", f"sharedkeys/{request['shared_key_id']}")}


CALLS: Final[Mapping[str, Callable[[Driver, Caller, Json], Json]]] = {
    "GetModel": _model,
    "ListModels": _models,
    "GetWorker": _worker,
    "ListWorkers": _workers,
    "GetAccount": _account,
    "ListAccounts": _accounts,
    "GiftKudos": _gift,
    "CreateSharedKey": _share_key,
    "RevokeSharedKey": _revoke_shared_key,
}
"""The calls of the contract that AI Horde's API has, too."""


if __name__ == "__main__":
    answer_lines(Driver())
