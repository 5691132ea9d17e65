"""What the drivers of doors of HTTP share: asking, and answering the kit."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from horde.cli.conform.drivers import CANNOT_SAY

Json = dict[str, Any]

ANSWER_SECONDS: Final = 60.0


class Unsaid(Exception):
    """There are no words for this at this door; why."""


class Refusal(Exception):
    """An answer that is a refusal: `facts` is it, as the kit wants it."""

    def __init__(self, facts: Json) -> None:
        super().__init__(facts["message"])
        self.facts = facts


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody at one door."""

    target: str
    headers: Mapping[str, str]
    """Who he is."""
    refusal: Callable[[int, Json], Refusal]
    """What a status above 299 with this body means."""

    def ask(self, verb: str, path: str, body: bytes | None = None, media_type: str = "application/json") -> bytes:
        """One call. Raises Refusal."""
        headers = {**self.headers, **({"content-type": media_type} if body is not None else {})}
        with closing(self._connection()) as connection:
            connection.request(verb, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        if answer.status >= 300:
            raise self.refusal(answer.status, _object(content))
        return content

    def events(self, path: str) -> Iterator[tuple[str, Json]]:
        """A stream's events, by name. Raises Refusal."""
        with closing(self._connection()) as connection:
            connection.request("GET", path, headers=dict(self.headers))
            answer = connection.getresponse()
            if answer.status != 200:
                raise self.refusal(answer.status, _object(answer.read()))
            name, data = "", ""
            for raw in answer:
                line = raw.decode().rstrip("\n")
                if not line and data:
                    yield name, json.loads(data)
                    name, data = "", ""
                elif line.startswith("event:"):
                    name = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    data += line.removeprefix("data:").strip()

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.target if "//" in self.target else f"http://{self.target}")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.netloc, timeout=ANSWER_SECONDS)


def _object(content: bytes) -> Json:
    try:
        found = json.loads(content)
    except ValueError:
        return {"detail": content[:200].decode(errors="replace")}
    return found if isinstance(found, dict) else {}


def answer_lines(driver: object) -> None:
    """Do what the kit says on standard input with the driver's methods, line by line, until it ends."""
    for line in sys.stdin:
        request = json.loads(line)
        number, op = request.pop("id"), request.pop("op")
        try:
            answer = {"id": number, "ok": getattr(driver, op)(**request)}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            answer = {"id": number, "error": _error_of(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _error_of(error: Exception) -> Json:
    if isinstance(error, Unsaid):
        return {"code": CANNOT_SAY, "message": str(error)}
    if isinstance(error, Refusal):
        return error.facts
    return {"code": "DRIVER", "message": f"{type(error).__name__}: {error}"}
