"""What people agree to is a file, and its version means these bytes for ever."""

import hashlib
import re
from importlib import resources
from pathlib import Path

import pytest

from horde.clients.consent import CURRENT, UnknownConsentText, consent_text, sha256_of
from horde.gateway.settings import GatewaySettings

FOLDER = Path(__file__).resolve().parents[3] / "protos" / "consent"
SUMS = {line.split()[1]: line.split()[0] for line in (FOLDER / "SHA256SUMS").read_text().splitlines()}
PUBLISHED = {"2026-11": "3a221720313f6fcbdf3115f0000335609e362b43ebf09171fd02c02ec586e3f1"}
"""Never changed, only added to: people have agreed to these very words."""


def test_every_text_has_its_digest_and_every_published_version_its_text() -> None:
    digests = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.md")}
    assert digests == PUBLISHED == {name.removesuffix(".md"): digest for name, digest in SUMS.items()}


@pytest.mark.parametrize("version", PUBLISHED)
def test_what_travels_with_the_contract_is_that_text(version: str) -> None:
    assert sha256_of(version) == PUBLISHED[version]
    assert consent_text(version).splitlines()[0].endswith(f"consent {version}")
    assert (resources.files("horde.api") / "consent" / f"{version}.md").is_file()


def test_the_version_that_a_gateway_writes_into_each_share_has_a_text() -> None:
    assert GatewaySettings.model_fields["consent_text_version"].default == CURRENT == max(PUBLISHED)


@pytest.mark.parametrize("version", ["2027-01", "", "../../../2026-11", "2026-11.md"])
def test_another_version_is_not_known_here(version: str) -> None:
    with pytest.raises(UnknownConsentText):
        consent_text(version)


def test_the_text_names_the_taxes_of_the_contract_and_how_to_take_back() -> None:
    text = consent_text(CURRENT)
    assert re.search(r"tax of 3 kudos instead of 1", text)
    assert "horde generations withdraw" in text
