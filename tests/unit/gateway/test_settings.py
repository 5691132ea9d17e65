"""The gateway's settings."""

from __future__ import annotations

import pytest

from horde.gateway.settings import GatewaySettings
from horde.services.rates import Rate
from horde.storage_router.settings import StorageRouterSettings


def test_a_gateway_and_a_router_with_their_defaults_meet_in_one_folder_of_keys() -> None:
    gateway = GatewaySettings.model_fields["public_keys_dir"].default
    assert gateway is not None
    assert gateway == StorageRouterSettings.model_fields["public_keys_dir"].default


def test_every_limit_has_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HORDE_GATEWAY_LIMIT_ADDRESS_INPUTS", "7/60s")
    monkeypatch.setenv("HORDE_GATEWAY_LIMIT_ACCOUNT_CALLS", "none")
    rates = GatewaySettings().rates()
    assert rates.address_inputs == Rate(7, 60)
    assert rates.account_calls is None
    assert rates.anonymous_inputs == Rate(30, 60)
