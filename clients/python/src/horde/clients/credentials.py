"""Who is asking: an API key, or the token that an anonymous client makes once and keeps.

What proves who somebody is at one mesh is never sent to another: each mesh has a folder of its own, `meshes/<its
gateway>`, in the folder that `HORDE_CONFIG_DIR` names, else `$XDG_CONFIG_HOME/horde`, else `~/.config/horde`
(`%APPDATA%\\horde` on Windows). Files there are for their owner's eyes alone (mode 0600).
"""

from __future__ import annotations

import os
import re
import secrets
import string
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

TOKEN_BITS: Final = 128
KEY_CHARACTERS: Final = 22
_ALPHABET: Final = string.digits + string.ascii_letters
API_KEY_FILE: Final = "api-key"
ANONYMOUS_TOKEN_FILE: Final = "anonymous-token"  # noqa: S105 - a name
_TOKEN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The secret of an account, or a shared key: 22 letters and digits."""

    secret: str = field(repr=False)
    source: str = field(default="", compare=False)
    """Where it was found, for whoever has to mend it."""

    @property
    def authorization(self) -> str:
        return f"Bearer {self.secret}"


@dataclass(frozen=True, slots=True)
class AnonymousToken:
    """The only proof of what an anonymous client asked for: 32 hexadecimal digits. Lost, nothing is yours again."""

    digits: str = field(repr=False)

    @property
    def authorization(self) -> str:
        return f"Anonymous {self.digits}"


Credential = ApiKey | AnonymousToken


def new_api_key() -> str:
    """Draw an API key that nobody had before: 131 random bits. Whoever draws it makes it good with the mesh."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(KEY_CHARACTERS))


class BadCredentialFile(Exception):
    """A file that should hold a credential holds something else, or others can read it."""


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of this user's horde files. It need not exist yet."""
    if named := environ.get("HORDE_CONFIG_DIR"):
        return Path(named)
    if os.name == "nt" and (roaming := environ.get("APPDATA")):
        return Path(roaming) / "horde"
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "horde"


def mesh_folder(target: str, folder: Path | None = None) -> Path:
    """Where this user's key and token for the mesh whose gateway is at `target` are. It need not exist yet.

    `folder` stands for `config_dir()`. The names of this machine are one mesh.
    """
    address = target.removeprefix("dns:///").lower()
    host, colon, port = address.rpartition(":")
    if host in ("localhost", "[::1]"):
        address = f"127.0.0.1{colon}{port}"
    # A name that every file system takes, and no two meshes share: `quote` leaves no "+" of the address itself.
    name = quote(address, safe="[]").replace("%3A", "+")
    if not name.strip("."):
        raise ValueError(f"{target!r} is not the address of a mesh")
    return (folder or config_dir()) / "meshes" / name


def find_credential(
    target: str,
    *,
    api_key: str | None = None,
    anonymous: bool = False,
    folder: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Credential:
    """What to ask the mesh at `target` with: the key given, that of `HORDE_API_KEY`, the one kept for this mesh, else
    the anonymous token kept for it.

    `anonymous` skips every key. Raises BadCredentialFile.
    """
    where = mesh_folder(target, folder or config_dir(environ))
    if not anonymous:
        if api_key:
            return ApiKey(api_key.strip(), "the key given")
        if found := environ.get("HORDE_API_KEY"):
            return ApiKey(found.strip(), "HORDE_API_KEY")
        if kept := read_secret(where / API_KEY_FILE):
            return ApiKey(kept, str(where / API_KEY_FILE))
    return keep_anonymous_token(where / ANONYMOUS_TOKEN_FILE)


def new_anonymous_token() -> AnonymousToken:
    """A token that nobody has had before."""
    return AnonymousToken(secrets.token_hex(TOKEN_BITS // 8))


def keep_anonymous_token(path: Path) -> AnonymousToken:
    """The token in this file, made now if there is none. Two processes that make it at once end with the same one."""
    if digits := read_secret(path):
        if not _TOKEN.fullmatch(digits):
            raise BadCredentialFile(f"{path} holds no anonymous token (32 hexadecimal digits)")
        return AnonymousToken(digits)
    fresh = new_anonymous_token()
    if write_secret(path, fresh.digits, replace=False):
        return fresh
    return keep_anonymous_token(path)


def read_secret(path: Path) -> str | None:
    """The one line of a secret file; None where there is no file. Raises BadCredentialFile if others can read it."""
    try:
        with path.open(encoding="utf-8") as file:
            if _open_to_others(os.fstat(file.fileno())):
                raise BadCredentialFile(f"{path} can be read by others: chmod 600 it")
            content = file.read(4096).strip()
    except FileNotFoundError:
        return None
    if not content or "\n" in content:
        raise BadCredentialFile(f"{path} should hold one line")
    return content


def _open_to_others(facts: os.stat_result) -> bool:
    if sys.platform == "win32":
        return False
    # Kubernetes mounts a secret as root's, for the group of the pod to read: nobody else is in it.
    mounted = facts.st_uid == 0 and os.geteuid() != 0
    return bool(facts.st_mode & (0o037 if mounted else 0o077))


def write_secret(path: Path, content: str, *, replace: bool = True) -> bool:
    """Keep a secret in a file of mode 0600. Without `replace`, False where there is a file already."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, f"{content}\n".encode())
    finally:
        os.close(handle)
    try:
        if replace:
            fresh.replace(path)
        else:
            os.link(fresh, path)
    except FileExistsError:
        return False
    finally:
        fresh.unlink(missing_ok=True)
    return True
