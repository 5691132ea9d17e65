"""What this mesh is, before anything is asked of it."""

from __future__ import annotations

from datetime import timedelta
from importlib import resources

from horde.api.job.v1 import job_pb2
from horde.api.mesh.v1 import mesh_pb2
from horde.api.mesh.v1 import mesh_service_pb2 as pb
from horde.gateway.core.consent import ConsentText, UnpublishedText, consent_text
from horde.gateway.settings import GatewaySettings
from horde.services.lifecycle import CannotStart

FEATURES = (
    pb.MESH_FEATURE_SHARED_KEYS,
    pb.MESH_FEATURE_WEBHOOKS,
    pb.MESH_FEATURE_RATINGS,
    pb.MESH_FEATURE_DATA_RELEASES,
    pb.MESH_FEATURE_MODERATION,
)
"""What every mesh of this version has; a test holds them to the services that are served."""
DEFAULT_TIME_TO_LIVE = timedelta(minutes=20)
DEFAULT_KEEP_FOR = timedelta(hours=24)
"""Both are the contract's, of GenerationSpec."""


def describe_mesh(settings: GatewaySettings) -> pb.GetMeshResponse:
    """This mesh, as its settings make it. Raises CannotStart for a consent text that was never published."""
    consent = read_consent(settings.consent_text_version)
    mesh = pb.GetMeshResponse(
        revision=mesh_pb2.CONTRACT_REVISION_1,
        name=settings.mesh_name,
        kinds=[job_pb2.JOB_KIND_IMAGE],
        registration_open=settings.registration_open,
        anonymous_allowed=True,
        consent=pb.ConsentText(version=consent.version, text=consent.text, sha256=consent.sha256),
        storage_address=settings.storage_public_address or settings.storage_router,
        max_input_bytes=settings.max_input_bytes,
        max_input_pixels=settings.max_input_pixels,
        support_url=settings.support_url,
    )
    mesh.features.extend(FEATURES)
    if settings.redis_url:
        # Without it they reach the watchers of one gateway alone.
        mesh.features.append(pb.MESH_FEATURE_PREVIEWS)
    mesh.default_time_to_live.FromTimedelta(DEFAULT_TIME_TO_LIVE)
    mesh.default_keep_for.FromTimedelta(DEFAULT_KEEP_FOR)
    return mesh


def read_consent(version: str) -> ConsentText:
    """The text of a version, as it travels with the contract. Raises CannotStart."""
    folder = resources.files("horde.api") / "consent"
    try:
        content = (folder / f"{version}.md").read_bytes()
        return consent_text(version, content, (folder / "SHA256SUMS").read_text("utf-8"))
    except (OSError, UnpublishedText) as error:
        raise CannotStart(f"consent_text_version {version}: {error}") from error
