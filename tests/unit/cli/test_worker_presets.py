"""The configuration that `horde worker join` writes is one that the worker reads, whatever the preset."""

from __future__ import annotations

import tomllib

import pytest

from horde.cli.commands.worker import CONFIG, PRESETS, RULES, _rules
from horde.worker_agent.settings import WorkerSettings


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_sets_its_rules_and_leaves_the_others_as_comments(preset: str) -> None:
    text = CONFIG.format(
        target="mesh", gateway="mesh:7700", plaintext="", key_file="'k'", state_dir="'s'", **_rules(preset)
    )
    said = tomllib.loads(text)
    assert {name: value for name, value in said.items() if name in RULES} == PRESETS[preset]
    for name in RULES:
        assert f"{name} = " in text
    assert said.keys() <= WorkerSettings.model_fields.keys()
    assert PRESETS[preset].keys() <= WorkerSettings.hot
