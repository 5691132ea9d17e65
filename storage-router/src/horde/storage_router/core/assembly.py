"""An upload as it arrives: which bytes may come next, how many, how fast, and whether they are what was promised."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from horde.storage_router.core.errors import DigestMismatch, ProtocolViolation, TooLarge

MAX_CHUNK_BYTES = 256 * 1024
MAX_CHUNKS = 16_384
"""Of one upload: who sends single bytes pays no less for each message, and neither do we."""
DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class MinimumRate:
    """How fast an upload must be: `bytes_per_second`, counted from `grace_seconds` on, and never silent for long."""

    bytes_per_second: int = 16 * 1024
    grace_seconds: float = 10.0

    def latest(self, received: int) -> float:
        """Seconds after the opening until which this many bytes are enough."""
        return self.grace_seconds + received / self.bytes_per_second

    @property
    def silence_seconds(self) -> float:
        """How long nothing may come: what was sent fast buys no right to hold it here."""
        return self.latest(MAX_CHUNK_BYTES)


def check_digest(content: bytes, sha256: bytes) -> None:
    """Raise DigestMismatch unless this is the content's SHA-256."""
    if len(sha256) != DIGEST_BYTES:
        raise ProtocolViolation.expected(f"a SHA-256 of {DIGEST_BYTES} bytes", f"{len(sha256)} bytes")
    if hashlib.sha256(content).digest() != sha256:
        raise DigestMismatch


def check_whole(content: bytes, sha256: bytes, max_bytes: int, max_message: int = MAX_CHUNK_BYTES) -> None:
    """Raise what is wrong with an upload that came in one message."""
    if not 1 <= len(content) <= max_message:
        raise ProtocolViolation.expected(f"an image of 1 to {max_message} bytes", f"{len(content)} bytes")
    if len(content) > max_bytes:
        raise TooLarge.over(max_bytes, "bytes")
    check_digest(content, sha256)


class Assembly:
    """Puts the chunks of one stream together, going on from `kept`, what an earlier stream left."""

    def __init__(self, max_bytes: int, kept: bytes = b"") -> None:
        self._max_bytes = max_bytes
        self._content = bytearray(kept)
        self._chunks = 0
        self.received = 0
        """Bytes that came on this stream, whether they were needed or not."""

    def __len__(self) -> int:
        return len(self._content)

    def add(self, offset: int, data: bytes) -> None:
        """Take a chunk. The first may begin anywhere up to where the last stream broke off; the others follow on."""
        if not 1 <= len(data) <= MAX_CHUNK_BYTES:
            raise ProtocolViolation.expected(f"a chunk of 1 to {MAX_CHUNK_BYTES} bytes", f"{len(data)} bytes")
        have = len(self._content)
        if self._chunks == 0 and 0 <= offset <= have:
            del self._content[offset:]
        elif offset != have:
            raise ProtocolViolation.expected(f"a chunk at offset {have}", f"offset {offset}")
        self._chunks += 1
        if self._chunks > MAX_CHUNKS:
            raise ProtocolViolation.expected(f"at most {MAX_CHUNKS} chunks", "one more")
        if len(self._content) + len(data) > self._max_bytes:
            raise TooLarge.over(self._max_bytes, "bytes")
        self._content += data
        self.received += len(data)

    def finish(self, sha256: bytes, size_bytes: int) -> bytes:
        """The whole content, which is not kept here. Raises DigestMismatch if it is not what was promised."""
        content = bytes(self._content)
        self._content.clear()
        if len(content) != size_bytes:
            raise DigestMismatch
        check_digest(content, sha256)
        return content

    def kept(self) -> bytes:
        """What arrived so far, for a later stream."""
        return bytes(self._content)
