"""Pictures on their way out, as they come from the storage router."""

from __future__ import annotations

from starlette.responses import Response, StreamingResponse

from horde.web_door.neighbours.storage import MEDIA_TYPES, Download

IMAGE_HEADERS = {"cache-control": "private, max-age=600", "x-content-type-options": "nosniff"}


async def streamed(download: Download, *, head: bool) -> Response:
    """The answer with the bytes, or only its head; raises what the router refuses for, before anything is said."""
    try:
        header = await download.header()
    except BaseException:
        download.cancel()
        raise
    headers = {**IMAGE_HEADERS, "content-length": str(header.size_bytes), "etag": f'"{header.sha256.hex()}"'}
    media_type = MEDIA_TYPES.get(header.format, "application/octet-stream")
    if head:
        download.cancel()
        return Response(media_type=media_type, headers=headers)
    return StreamingResponse(download.chunks(), media_type=media_type, headers=headers)
