"""The driver of the contract over HTTP: what a client does that has no SDK, by the paths of the annotations."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote as quoted
from urllib.parse import urlencode

from google.api import annotations_pb2
from google.protobuf.descriptor_pool import Default

from horde.cli.conform.over_http import Caller, Json, Refusal, Unsaid, answer_lines
from horde.cli.conform.python_driver import digested, know_every_method
from horde.clients.credentials import AnonymousToken, ApiKey

GENERATIONS: Final = "horde.api.generation.v1.GenerationService"
DONE: Final = "JOB_ENDING_DONE"


def problem(status: int, details: Json) -> Refusal:
    """A refusal, of a problem of RFC 9457."""
    facts: Json = {
        "code": details.get("code", f"HTTP {status}"),
        "reason": details.get("reason", ""),
        "domain": details.get("domain", ""),
        "message": details.get("detail", ""),
        "metadata": details.get("metadata", {}),
        "violations": [violation["field"] for violation in details.get("field_violations", ())],
    }
    if "retry_delay" in details:
        facts["retry_after_s"] = float(details["retry_delay"].removesuffix("s"))
    return Refusal(facts)


def request_of(method: str, request: Json) -> tuple[str, str, bytes | None]:
    """The verb, the path and the body of a call, as the contract's annotation says."""
    service, _, name = method.rpartition("/")
    found = Default().FindServiceByName(service).FindMethodByName(name)
    rule = found.GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    if verb is None:
        raise Unsaid(f"the contract gives {name} no path")
    left, path = dict(request), getattr(rule, verb)
    for place in [part.partition("}")[0] for part in path.split("{")[1:]]:
        name, _, pattern = place.partition("=")
        value = quoted(str(left.pop(name, "")), safe="/" if pattern == "**" else "")
        path = path.replace(f"{{{place}}}", value)
    if rule.body == "*":
        return verb.upper(), path, json.dumps(left).encode()
    body = json.dumps(left.pop(rule.body, {})).encode() if rule.body else None
    query = urlencode(list(_flat(left)), doseq=True)
    return verb.upper(), f"{path}?{query}" if query else path, body


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value).lower() if isinstance(value, bool) else value


@dataclass(slots=True)
class Session:
    """A generation that somebody asked for, or follows."""

    caller: Caller
    generation: Json
    cancels: bool

    @property
    def path(self) -> str:
        return f"/v1/generations/{self.generation['generation_id']}"


@dataclass(slots=True)
class Driver:
    """Callers and sessions by name, and the operations on them."""

    clients: dict[str, Caller] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)

    def open(self, client: str, target: str, api_key: str = "", anonymous: str = "", **_: Any) -> Json:
        credential = ApiKey(api_key) if api_key else AnonymousToken(anonymous)
        self.clients[client] = Caller(target, {"authorization": credential.authorization}, problem)
        return {}

    def close(self, client: str) -> Json:
        del self.clients[client]
        return {}

    def call(self, client: str, method: str, request: Json) -> Json:
        verb, path, body = request_of(method, request)
        return {"response": json.loads(self.clients[client].ask(verb, path, body))}

    def quote(self, client: str, spec: Json) -> Json:
        return {"quote": self._call(client, "QuoteGeneration", {"spec": spec})["quote"]}

    def generate(
        self,
        client: str,
        spec: Json,
        request_id: str | None = None,
        max_total_mkudos: int | None = None,
        cancels: bool = True,
    ) -> Json:
        request: Json = {"request_id": request_id or str(uuid.uuid4()), "spec": spec}
        if max_total_mkudos is not None:
            request["max_total_mkudos"] = max_total_mkudos
        return self._enter(client, self._call(client, "CreateGeneration", request)["generation"], cancels)

    def following(self, client: str, generation_id: str) -> Json:
        found = self._call(client, "GetGeneration", {"generation_id": generation_id})
        return self._enter(client, found["generation"], cancels=False)

    def watch(self, session: str, previews: bool = False, until: str = "") -> Json:
        watched = self.sessions[session]
        events = []
        for kind, event in watched.caller.events(f"{watched.path}:watch{'?previews=true' if previews else ''}"):
            message = event.get(kind, event)
            events.append(
                {"kind": kind, **{name: message[name] for name in ("version", "index", "step") if name in message}}
            )
            if kind in ("snapshot", "finished"):
                watched.generation = message
            if kind == until or kind == "finished":
                break
        return {"events": events, "generation": watched.generation}

    def pictures(self, session: str) -> Json:
        self.watch(session)
        watched = self.sessions[session]
        found = []
        for image in watched.generation["images"]:
            if image.get("ending") == DONE:
                content = watched.caller.ask("GET", f"{watched.path}/images/{image['job_id']}")
                promised = base64.b64decode(image["sha256"]).hex()
                found.append({"index": image.get("index", 0), **digested(content), "promised_sha256": promised})
        return {"pictures": found, "generation": watched.generation}

    def fetch(self, client: str, generation_id: str, job_id: str) -> Json:
        return digested(self.clients[client].ask("GET", f"/v1/generations/{generation_id}/images/{job_id}"))

    def put(self, client: str, content: str, input_id: str | None = None) -> Json:
        path = f"/v1/inputs/{input_id or uuid.uuid4()}"
        answer = self.clients[client].ask("PUT", path, base64.b64decode(content), "application/octet-stream")
        stored = json.loads(answer)["input"]
        return {"input": {name: stored[name] for name in ("input_id", "sha256")}}

    def cancel(self, session: str) -> Json:
        cancelled = self.sessions[session]
        request = {"generation_id": cancelled.generation["generation_id"]}
        verb, path, body = request_of(f"{GENERATIONS}/CancelGeneration", request)
        cancelled.generation = json.loads(cancelled.caller.ask(verb, path, body))["generation"]
        return {"generation": cancelled.generation}

    def leave(self, session: str) -> Json:
        left = self.sessions[session]
        left.generation = json.loads(left.caller.ask("GET", left.path))["generation"]
        if left.cancels and not left.generation.get("finished"):
            self.cancel(session)
        del self.sessions[session]
        return {"generation": left.generation}

    def _call(self, client: str, name: str, request: Json) -> Json:
        found: Json = self.call(client, f"{GENERATIONS}/{name}", request)["response"]
        return found

    def _enter(self, client: str, generation: Json, cancels: bool) -> Json:
        name = f"session {len(self.sessions)} {generation['generation_id']}"
        self.sessions[name] = Session(self.clients[client], generation, cancels)
        return {"session": name, "generation": generation}


if __name__ == "__main__":
    know_every_method()
    answer_lines(Driver())
