"""The gateway's own secrets on disk: peppers, the key of passes, the operator's key.

Made at first start, for this user alone.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from horde.gateway.core.credentials import (
    PEPPER_BYTES,
    ApiKeyCredential,
    Peppers,
    new_api_key,
    parse_api_key,
    parse_peppers,
)
from horde.gateway.core.passes import KEY_BYTES as PASS_KEY_BYTES
from horde.gateway.core.passes import Passes, parse_pass_keys
from horde.services.identity import read_private


def load_peppers(path: Path) -> Peppers:
    """The peppers; raises NotPrivate where others can read them."""
    if not path.exists():
        write_secret(path, secrets.token_hex(PEPPER_BYTES))
    return parse_peppers(read_private(path).decode())


def load_passes(path: Path) -> Passes:
    """What passes are made and opened with; raises NotPrivate where others can read it."""
    if not path.exists():
        write_secret(path, secrets.token_hex(PASS_KEY_BYTES))
    return parse_pass_keys(read_private(path).decode())


def load_operator_key(path: Path) -> ApiKeyCredential:
    """The operator's key; raises NotPrivate where others can read it."""
    if not path.exists():
        write_secret(path, new_api_key().text())
    return parse_api_key(read_private(path).decode().strip())


def write_secret(path: Path, text: str) -> None:
    """Put a secret into a new file, whole or not at all; a file that is there meanwhile stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, text.encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
