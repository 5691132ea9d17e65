"""What the services of a mesh keep their state in: files beside them, or servers, as an operator would have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.conftest import BUCKETS

from horde.cli.local.roles import Role
from horde.testkit.postgres import throwaway_postgres
from horde.testkit.s3 import throwaway_s3

EMBEDDED: Final = "embedded"
DEPLOYED: Final = "deployed"

Settings = Mapping[Role, Mapping[str, str]]


@contextmanager
def backends(kind: str, folder: Path) -> Iterator[Settings]:
    """SQLite and folders need no more settings; PostgreSQL (a database for each service) and S3 are started here."""
    if kind == EMBEDDED:
        yield {}
        return
    with ExitStack() as stack:
        databases = stack.enter_context(throwaway_postgres())
        objects = stack.enter_context(throwaway_s3(BUCKETS))
        told = {"S3_ENDPOINT": objects.endpoint, "S3_SECURE": "false"}
        # With the rights that an operator gives: `deploy/policies`.
        users = (("PRIVATE", BUCKETS[0], "router-private"), ("SHARED", BUCKETS[1], "router-promoter"))
        for door, bucket, user in users:
            secret = folder / f"{door}.secret"
            secret.write_text(objects.secret(user))
            secret.chmod(0o600)
            told |= {
                f"{door}_BUCKET": bucket,
                f"{door}_ACCESS_KEY": objects.access_key(user),
                f"{door}_SECRET_FILE": str(secret),
            }
        secret = folder / "curation.secret"
        secret.write_text(objects.secret("curation"))
        secret.chmod(0o600)
        curation = {
            "S3_ENDPOINT": objects.endpoint,
            "S3_SECURE": "false",
            "SHARED_BUCKET": BUCKETS[1],
            "RELEASES_BUCKET": BUCKETS[2],
            "ACCESS_KEY": objects.access_key("curation"),
            "SECRET_FILE": str(secret),
            "DATABASE_URL": databases.database(),
        }
        # Its builder's credential is its own, and stands in the environment that it inherits.
        builder = folder / "release-builder.secret"
        builder.write_text(objects.secret("release-builder"))
        builder.chmod(0o600)
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("HORDE_DATA_RELEASES_ACCESS_KEY", objects.access_key("release-builder"))
        environment.setenv("HORDE_DATA_RELEASES_SECRET_FILE", str(builder))
        sql = {role: {"DATABASE_URL": databases.database()} for role in (Role.LEDGER, Role.SCHEDULER, Role.GATEWAY)}
        yield {**sql, Role.STORAGE_ROUTER: told, Role.CURATION: curation}


def merged(*several: Settings) -> dict[Role, dict[str, str]]:
    """Settings of several origins, later ones first."""
    roles = {role for each in several for role in each}
    return {role: {name: value for each in several for name, value in each.get(role, {}).items()} for role in roles}
