"""What a mesh announces is what it serves."""

from __future__ import annotations

import pytest

from horde.api.mesh.v1 import mesh_service_pb2 as pb
from horde.gateway.doors.listeners import ALLOW
from horde.gateway.doors.mesh import FEATURES

SERVED_BY = {
    pb.MESH_FEATURE_WEBHOOKS: "horde.api.webhook.v1.WebhookService",
    pb.MESH_FEATURE_RATINGS: "horde.api.rating.v1.RatingService",
    pb.MESH_FEATURE_STYLES: "horde.api.style.v1.StyleService",
    pb.MESH_FEATURE_TEAMS: "horde.api.team.v1.TeamService",
    pb.MESH_FEATURE_DATA_RELEASES: "horde.api.release.v1.DataReleaseService",
    pb.MESH_FEATURE_MODERATION: "horde.api.moderation.v1.ModerationService",
}


@pytest.mark.parametrize(("feature", "service"), SERVED_BY.items())
def test_a_feature_is_announced_where_its_service_is_served(feature: int, service: str) -> None:
    served = any(method.startswith(f"/{service}/") for method in ALLOW.methods())
    assert (feature in FEATURES) is served
