"""The contract's messages in JSON: its own names, and what is not there left out."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.responses import Response


def json_of(message: Message) -> dict[str, Any]:
    """A message as a JSON object."""
    plain: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return plain


def text_of(message: Message) -> str:
    """A message as a JSON text of one line."""
    return json.dumps(json_of(message), ensure_ascii=False, separators=(",", ":"))


def answered(message: Message) -> Response:
    """A message as an answer. What is somebody's own is kept by nobody on the way."""
    return Response(text_of(message), media_type="application/json", headers={"cache-control": "no-store"})
