"""The pages for readers, as blocks of code and commands within sentences, each of a known kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = sorted(
    path.relative_to(ROOT).as_posix()
    for path in ROOT.rglob("*.md")
    if not {".venv", ".cache", "node_modules", "gen", "out", ".state", "shared"} & set(path.relative_to(ROOT).parts)
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^\n|\A)((?:^ {4}.*\n(?:\n(?= {4}))?)+)", re.MULTILINE)
_INLINE = re.compile(r"`((?:horde|make|python|pip) [^`]+)`")
DRAWN: Final = re.compile(r"[─│┌►▼]|--+>|->")
KNOWN_TO_SHELL: Final = (
    *("horde", "make", "python", "python3.11", ".", "pip", "docker", "curl", "grpcurl", "export", "kubectl", "helm"),
)


@dataclass(frozen=True)
class Block:
    """A block of a page: `language` is empty for one that is indented."""

    page: str
    line: int
    language: str
    text: str

    @property
    def drawing(self) -> bool:
        """A picture made of letters, or states with arrows between them."""
        return self.language == "" and bool(DRAWN.search(self.text)) and not self.commands

    @property
    def commands(self) -> list[str]:
        """The commands, each on one line, without remarks; empty where the first line is none."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        lines = [re.sub(r"\s+#.*| — .*", "", line).strip() for line in joined.splitlines() if line.strip()]
        found = [line for line in lines if program(line) in KNOWN_TO_SHELL]
        return found if found and program(lines[0]) in KNOWN_TO_SHELL else []

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def program(command: str) -> str:
    """What a command line starts, without the settings before it and the folder it lies in."""
    words = [word for word in command.split() if not re.match(r"[A-Z_]+=", word)]
    return words[0].rpartition("/")[2] if words else ""


def blocks(page: str) -> Iterator[Block]:
    """Every block of a page, in order."""
    text = (ROOT / page).read_text("utf-8")
    found = [(match.start(2), match[1], match[2]) for match in _FENCE.finditer(text)]
    bare = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    offsets = {}
    for match in _INDENTED.finditer(bare):
        offsets[match.start(1)] = match[1]
    for line, language, content in sorted(
        [(text.count("\n", 0, at) + 1, language, content) for at, language, content in found]
        + [
            (bare.count("\n", 0, at) + 1, "", re.sub(r"^ {4}", "", content, flags=re.M))
            for at, content in offsets.items()
        ]
    ):
        yield Block(page, line, language, content)


def inline_commands(page: str) -> list[str]:
    """The commands within sentences."""
    text = _FENCE.sub("", (ROOT / page).read_text("utf-8"))
    return [" ".join(found.split()) for found in _INLINE.findall(text)]


ALL: Final = [block for page in PAGES for block in blocks(page)]
