"""The Python SDK of Horde Mesh, and the command line `horde`.

Everything public is named here. Loading is left to the first use, so that `horde --help` is there at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from horde.clients import errors as errors
    from horde.clients.client import DEFAULT_TARGET as DEFAULT_TARGET
    from horde.clients.client import HordeClient as HordeClient
    from horde.clients.credentials import AnonymousToken as AnonymousToken
    from horde.clients.credentials import ApiKey as ApiKey
    from horde.clients.credentials import find_credential as find_credential
    from horde.clients.credentials import new_anonymous_token as new_anonymous_token
    from horde.clients.doors import Security as Security
    from horde.clients.retrying import IMPATIENT as IMPATIENT
    from horde.clients.retrying import Patience as Patience
    from horde.clients.session import GenerationSession as GenerationSession
    from horde.clients.specs import generation_spec as generation_spec
    from horde.clients.specs import new_request_id as new_request_id
    from horde.clients.watching import Finished as Finished
    from horde.clients.watching import ImageChanged as ImageChanged
    from horde.clients.watching import Previewed as Previewed
    from horde.clients.watching import Progressed as Progressed
    from horde.clients.watching import Snapshot as Snapshot
    from horde.clients.watching import Waiting as Waiting
    from horde.clients.watching import WatchEvent as WatchEvent

_HOMES = {
    "client": ("DEFAULT_TARGET", "HordeClient"),
    "credentials": ("AnonymousToken", "ApiKey", "find_credential", "new_anonymous_token"),
    "doors": ("Security",),
    "retrying": ("IMPATIENT", "Patience"),
    "session": ("GenerationSession",),
    "specs": ("generation_spec", "new_request_id"),
    "watching": ("Finished", "ImageChanged", "Previewed", "Progressed", "Snapshot", "Waiting", "WatchEvent"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "DEFAULT_TARGET",
    "IMPATIENT",
    "AnonymousToken",
    "ApiKey",
    "Finished",
    "GenerationSession",
    "HordeClient",
    "ImageChanged",
    "Patience",
    "Previewed",
    "Progressed",
    "Security",
    "Snapshot",
    "Waiting",
    "WatchEvent",
    "errors",
    "find_credential",
    "generation_spec",
    "new_anonymous_token",
    "new_request_id",
]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("horde.clients.errors")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"horde.clients.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
