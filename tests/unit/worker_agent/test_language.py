"""What the owner reads, in his language: every message is translated whole, or shown in English."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from string import Formatter

import pytest

from horde.worker_agent import language
from horde.worker_agent.core.status import JobStatus, Status, lines

SOURCES = Path(language.__file__).parent
LANGUAGES = sorted(path.parents[1].name for path in language.FOLDER.glob("*/LC_MESSAGES/*.mo"))
STATUS = Status("anna", "agent/1", "mesh:7700", 7_500.0, "idle", free_mib=900)


def messages() -> Iterator[tuple[str, ...]]:
    """What the programs have translated: a message, or one for one and one for many."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            count = {"gettext": 1, "mark": 1, "ngettext": 2}.get(name, 0)
            texts = tuple(part.value for part in node.args[:count] if isinstance(part, ast.Constant))
            if count and len(texts) == count:
                yield tuple(map(str, texts))


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_there_are_messages_and_a_language_beside_english() -> None:
    assert len(set(messages())) > 30
    assert LANGUAGES == ["de"]


@pytest.mark.parametrize("tongue", LANGUAGES)
def test_every_message_has_its_translation_with_all_that_it_names(tongue: str) -> None:
    words = language.owners([tongue])
    for texts in set(messages()):
        if len(texts) == 1:
            shown = {words.gettext(texts[0]): texts[0]}
        else:
            one, many = texts
            shown = {words.ngettext(one, many, 1): one, words.ngettext(one, many, 2): many}
            assert len(shown) == 2
        for translated, text in shown.items():
            assert fields(translated) == fields(text), text
            # Some are the same in both: what is short may be. A sentence is not.
            assert translated != text or len(text) < 26, text


@pytest.mark.parametrize("tongue", LANGUAGES)
def test_what_is_compiled_is_what_was_translated(tongue: str) -> None:
    """`make messages` was run after the last change."""
    written = (language.FOLDER / tongue / "LC_MESSAGES" / f"{language.DOMAIN}.po").read_text("utf-8")
    words = language.owners([tongue])
    for entry in written.split("\n\n")[1:]:
        rows = [row.partition(" ") for row in entry.splitlines() if not row.startswith("#")]
        texts = {name: ast.literal_eval(text) for name, _, text in rows}
        if "msgstr" in texts:
            assert words.gettext(texts["msgid"]) == texts["msgstr"]
        else:
            for count, name in ((1, "msgstr[0]"), (2, "msgstr[1]")):
                assert words.ngettext(texts["msgid"], texts["msgid_plural"], count) == texts[name]


def test_the_screen_speaks_the_owners_language_and_english_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "de")
    painting = replace(STATUS, state="painting", jobs=(JobStatus("sdxl", 512, 512, "painting", 1, 4, 75.0),), paid=2)
    assert list(lines(painting, language.owners())) == [
        "anna bei mesh:7700, agent/1, seit 2 Std. 05 min hier",
        "malt       sdxl 512x512, Schritt 1 von 4, 1 min 15 s",
        "verdient   0.000 Kudos für 2 Bilder; 0.000 in der Stunde",
        "Rechner    900 MiB frei",
    ]
    # What comes with a number in it, or from elsewhere, is shown as it came.
    reasons = replace(STATUS, state="paused", why=("somebody is at the machine", "doom runs", ""))
    assert list(lines(reasons, language.owners()))[1:4] == [
        "pausiert   jemand sitzt am Rechner",
        "           doom runs",
        "           ",
    ]
    monkeypatch.setenv("LANGUAGE", "tlh")
    assert list(lines(painting, language.owners())) == list(lines(painting))
