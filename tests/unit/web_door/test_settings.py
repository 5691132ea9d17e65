"""How the door calls the mesh: with TLS wherever that is not on this machine, unless somebody means otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from horde.services.tls import TlsFiles
from horde.web_door.settings import WebDoorSettings

OURS = Path("authorities.pem")


@pytest.mark.parametrize(
    ("told", "tls"),
    [
        ({}, None),
        ({"gateway": "mesh.example:443"}, TlsFiles()),
        ({"gateway": "gateway:7700", "gateway_plaintext": True}, None),
        ({"gateway": "gateway:7700", "tls_authorities": OURS}, TlsFiles(authorities=OURS)),
        # The certificate that is shown to browsers is not shown to the mesh.
        ({"gateway": "gateway:7700", "tls_certificate": Path("c"), "tls_key": Path("k")}, TlsFiles()),
    ],
)
def test_the_mesh_is_called_with_tls_wherever_it_is_elsewhere(told: dict[str, object], tls: TlsFiles | None) -> None:
    assert WebDoorSettings.model_validate(told).outward_tls() == tls
