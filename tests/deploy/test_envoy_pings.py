"""Whoever has calls at a leader that stands still leaves it by the time that the next one leads, also through Envoy."""

from __future__ import annotations

from pathlib import Path

import yaml

from horde.services.keepalive import KEEPALIVE, LED
from horde.services.leadership import IDLE_SECONDS

ENVOY = Path(__file__).parents[2] / "deploy" / "envoy" / "envoy.yaml"


def test_a_leader_that_stands_still_is_left_by_the_time_that_the_next_one_leads() -> None:
    assert LED.after_seconds + LED.answer_seconds <= IDLE_SECONDS


def test_envoy_leaves_it_as_soon_and_asks_nobody_more_often_than_is_taken() -> None:
    clusters = yaml.safe_load(ENVOY.read_text())["static_resources"]["clusters"]
    assert len(clusters) == 5
    for cluster in clusters:
        (protocol,) = cluster["typed_extension_protocol_options"].values()
        asked = protocol["explicit_http_config"]["http2_protocol_options"]["connection_keepalive"]
        ours = LED if cluster["name"] in ("scheduler", "ledger") else KEEPALIVE
        assert asked == {"interval": f"{ours.after_seconds:g}s", "timeout": f"{ours.answer_seconds:g}s"}
