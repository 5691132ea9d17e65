"""The one file of a form."""

from __future__ import annotations

from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from horde.web_door.v1.problems import HttpProblem

ONE_PART: Final = "The form must have one part, the file."


def file_of(body: bytes, content_type: str) -> bytes:
    """What a body brings: itself, or the one part of the form that it is; raises HttpProblem."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return body
    found: list[bytes] = []
    parts = 0

    def begin() -> None:
        nonlocal parts
        parts += 1
        if parts > 1:
            # At once: reading the heads of a million parts takes its time from everybody.
            raise HttpProblem(400, ONE_PART)

    def data(text: bytes, start: int, end: int) -> None:
        found.append(text[start:end])

    try:
        parser = MultipartParser(options.get(b"boundary", b""), {"on_part_begin": begin, "on_part_data": data})
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise HttpProblem(400, f"The body is no whole form: {str(error)[:200]}") from None
    if not parts:
        raise HttpProblem(400, ONE_PART)
    return b"".join(found)
