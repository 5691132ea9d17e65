"""The one file of a form, as it comes: nothing of it is kept here."""

from __future__ import annotations

from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from horde.web_door.v1.problems import HttpProblem


def content_of(request: Request) -> AsyncIterator[bytes]:
    """The bytes that a request brings: its body, or the one part of the form that its body is."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        return request.stream()
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise HttpProblem(400, "A form needs a boundary.")
    return _part(request, boundary)


async def _part(request: Request, boundary: bytes) -> AsyncIterator[bytes]:
    found: list[bytes] = []
    parts = 0

    def begin() -> None:
        nonlocal parts
        parts += 1

    parser = MultipartParser(
        boundary,
        {"on_part_begin": begin, "on_part_data": lambda data, start, end: found.append(data[start:end])},
    )
    try:
        async for text in request.stream():
            parser.write(text)
            if parts > 1:
                raise HttpProblem(400, "The form must have one part, the file.")
            for chunk in found:
                yield chunk
            found.clear()
        parser.finalize()
    except FormParserError as error:
        raise HttpProblem(400, f"The body is no whole form: {str(error)[:200]}") from None
    if parts != 1:
        raise HttpProblem(400, "The form must have one part, the file.")
