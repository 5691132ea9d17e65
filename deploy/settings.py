"""Writes `deploy/settings.md`, every setting of every service, from the classes that read them.

python deploy/settings.py            # writes it
python deploy/settings.py --check    # fails where it is stale
"""

from __future__ import annotations

import ast
import inspect
import sys
from enum import Enum
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any, Final

from pydantic_core import PydanticUndefined

from horde.cli.local.roles import Role
from horde.ledger.core.economy import Economy
from horde.services.settings import ServiceSettings
from horde.services.settings_of import settings_of

PAGE: Final = Path(__file__).with_name("settings.md")
JOBS: Final = {"data-releases": "horde.data_releases", "auditor": "horde.auditor"}
"""Operators' programs that are no services, by title."""
HEAD: Final = """# Settings

Every setting of every service, as an environment variable. A variable that begins like these and is none ends the
start, and so does a value that cannot be. `deploy/settings.py` writes this page from the code.

"""


def page() -> str:
    """The whole page."""
    shared = set(ServiceSettings.model_fields)
    parts = [HEAD, "## Of every service\n\n", "`…` stands for a service's prefix: `HORDE_LEDGER_`.\n\n"]
    parts.append(_table(ServiceSettings, sorted(shared), "…"))
    for title, module in [*((role.value, role.module) for role in Role), *JOBS.items()]:
        settings = settings_of(module)
        own = [name for name in settings.model_fields if name not in shared or _differs(settings, name)]
        parts += [f"\n## {title}\n\n", _table(settings, own, str(settings.model_config.get("env_prefix")))]
    return "".join(parts)


def _differs(settings: type[ServiceSettings], name: str) -> bool:
    """Whether a service has another default for what all services have."""
    own, shared = settings.model_fields[name].default, ServiceSettings.model_fields[name].default
    return bool(own != shared)


def _table(settings: type[ServiceSettings], names: list[str], prefix: str) -> str:
    rows = ["| variable | default | |\n|---|---|---|\n"]
    for name in names:
        field = settings.model_fields[name]
        text = " ".join(_described(name, field.description or "").split()).replace("|", "\\|")
        rows.append(f"| `{prefix}{name.upper()}` | {_default(field.default)} | {text} |\n")
    return "".join(rows)


def _described(name: str, text: str) -> str:
    """What a setting is, also where its description stands in the rules that it sets."""
    return ECONOMY.get(name, text) if text == "See economy.py." else text


def _attribute_texts(kind: type) -> dict[str, str]:
    """The texts below the fields of a class, by field."""
    (body,) = [node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef)]
    texts = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            texts[ast.unparse(field.target)] = str(below.value.value)
    return texts


ECONOMY: Final = _attribute_texts(Economy)


def _default(value: Any) -> str:
    match value:
        case _ if value is PydanticUndefined:
            return "must be set"
        case None | "":
            return "–"
        case bool():
            return f"`{str(value).lower()}`"
        case Enum():
            return f"`{value.value}`"
        case PurePath():
            return f"`{value.as_posix()}`"
        case tuple() | list() | frozenset():
            return f"`{','.join(map(str, value))}`" if value else "–"
        case _:
            return f"`{value}`"


def main() -> int:
    """Write it, or say whether it is what would be written."""
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.read_text("utf-8") == text:
            return 0
        sys.stderr.write(f"{PAGE.name} is stale: python deploy/settings.py\n")
        return 1
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
