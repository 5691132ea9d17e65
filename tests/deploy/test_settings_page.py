"""The page of all settings is what the classes say."""

from __future__ import annotations

import subprocess
import sys

from tests.documents import ROOT

from horde.cli.local.roles import Role
from horde.services.settings_of import settings_of


def test_the_page_of_settings_is_not_stale() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "deploy" / "settings.py", "--check"], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


def test_every_setting_of_every_service_says_what_it_is() -> None:
    page = (ROOT / "deploy" / "settings.md").read_text()
    for role in Role:
        for name, field in settings_of(role.module).model_fields.items():
            assert field.description, (role, name)
    assert "See economy.py" not in page
