"""`horde doctor` finds what would go wrong between services, each case made on purpose; and finds nothing where all is
well."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from horde.cli.doctor.asking import CLOCK_SECONDS, clock
from horde.cli.doctor.verdicts import Grade
from horde.services.identity import create_key_file
from horde.testkit.certificates import HOUR, Authority
from horde.testkit.postgres import older
from horde.testkit.redis import throwaway_redis
from horde.testkit.s3 import ThrowawayS3

HORDE = Path(sys.executable).with_name("horde")
NOW = datetime(2026, 11, 26, tzinfo=UTC)


class Doctor:
    """One operator, with settings that hold."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shown = subprocess.run([HORDE, "keys", "init", folder / "keys"], capture_output=True, text=True, check=True)
        self.settings = dict(line.split("=", 1) for line in shown.stdout.splitlines())

    def look(self, *words: str, **changed: str) -> tuple[int, list[Mapping[str, Any]]]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HORDE_")}
        asked = subprocess.run(
            [HORDE, "doctor", "--json", *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=kept | self.settings | changed,
        )
        assert asked.stdout, asked.stderr
        return asked.returncode, json.loads(asked.stdout)["verdicts"]

    def failed(self, *words: str, **changed: str) -> str:
        """What is to be put right, all in one text; status 1 says that there is something."""
        status, verdicts = self.look(*words, **changed)
        found = [f"{verdict['subject']}: {verdict['words']}" for verdict in verdicts if verdict["grade"] == "fail"]
        assert status == (1 if found else 0)
        return "\n".join(found)


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


def test_what_keys_init_says_holds_together(doctor: Doctor) -> None:
    status, verdicts = doctor.look("--offline")
    assert status == 0
    assert {verdict["subject"] for verdict in verdicts if verdict["grade"] == "ok"} >= {"identity", "gateway's key"}


def test_services_that_would_refuse_each_other(doctor: Doctor, tmp_path: Path) -> None:
    create_key_file(tmp_path / "other")
    failed = doctor.failed("--offline", HORDE_SCHEDULER_KEY_FILE=str(tmp_path / "other"))
    assert "identity: services prove their names in different ways" in failed


def test_a_key_whose_public_half_somebody_lacks(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    failed = doctor.failed("--offline", HORDE_STORAGE_ROUTER_PUBLIC_KEYS_DIR=str(tmp_path / "empty"))
    assert "gateway's key: its public half" in failed
    assert "is not in the folder of storage-router" in failed


def test_a_variable_that_is_none_and_a_setting_that_cannot_be(doctor: Doctor) -> None:
    failed = doctor.failed("--offline", HORDE_LEDGER_DATABSE_URL="x", HORDE_GATEWAY_MAX_WATCHERS="many")
    assert "HORDE_LEDGER_DATABSE_URL" in failed
    assert "HORDE_GATEWAY_MAX_WATCHERS" in failed


def test_two_services_in_one_database(doctor: Doctor) -> None:
    both = "postgresql://127.0.0.1:1/one"
    failed = doctor.failed("--offline", HORDE_LEDGER_DATABASE_URL=both, HORDE_GATEWAY_DATABASE_URL=both)
    assert "databases: ledger and gateway are told the same one" in failed


@pytest.mark.parametrize(("left", "status"), [(HOUR * 24 * 300, 0), (HOUR, 0), (-HOUR, 1)])
def test_certificates_and_their_ends(doctor: Doctor, tmp_path: Path, left: timedelta, status: int) -> None:
    files = Authority(tmp_path / "ours").issue("ledger.mesh.example", left=left)
    told = {
        "HORDE_LEDGER_KEY_FILE": "",
        "HORDE_LEDGER_TLS_CERTIFICATE": str(files.certificate),
        "HORDE_LEDGER_TLS_KEY": str(files.key),
        "HORDE_LEDGER_TLS_AUTHORITIES": str(files.authorities),
        "HORDE_LEDGER_TLS_NAME_SUFFIX": ".mesh.example",
    }
    found, verdicts = doctor.look("--offline", "ledger", **told)
    assert found == status
    grades = [
        verdict["grade"] for verdict in verdicts if "certificate" in verdict["subject"] or "expired" in verdict["words"]
    ]
    assert grades == [["fail"], ["warn"], ["ok"]][0 if status else 1 if left == HOUR else 2]


def test_a_database_that_forgets_what_it_has_said(doctor: Doctor, postgresql_url: str) -> None:
    told = {"HORDE_LEDGER_DATABASE_URL": postgresql_url}
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
        assert "synchronous_commit off" in doctor.failed("ledger", **told)
        connection.execute(f'ALTER DATABASE "{name}" RESET synchronous_commit')
    assert "synchronous_commit" not in doctor.failed("ledger", **told)
    assert "does not answer" in doctor.failed("ledger", HORDE_LEDGER_DATABASE_URL="postgresql://127.0.0.1:1/none")


async def test_a_database_that_is_too_old(doctor: Doctor, postgresql_url: str) -> None:
    async with older(postgresql_url, 13) as url:
        failed = await asyncio.to_thread(doctor.failed, "ledger", HORDE_LEDGER_DATABASE_URL=url)
    assert re.search(r"ledger's database: PostgreSQL 13\.\d+ is too old: 14 or newer is needed", failed)


def test_a_redis_that_forgets_limits_is_told(doctor: Doctor) -> None:
    with throwaway_redis("redis") as server:
        for policy, grade in (("allkeys-lru", "warn"), ("volatile-ttl", "ok")):
            redis.Redis(port=server.port).config_set("maxmemory-policy", policy)
            status, verdicts = doctor.look("gateway", HORDE_GATEWAY_REDIS_URL=server.url)
            told = [verdict["grade"] for verdict in verdicts if verdict["subject"] == "gateway's Redis"]
            assert (status, told) == (0, [grade])


def test_a_credential_that_reaches_both_buckets(doctor: Doctor, s3_server: ThrowawayS3, tmp_path: Path) -> None:
    def told(private: str) -> dict[str, str]:
        for user in (private, "router-promoter"):
            (tmp_path / user).write_text(s3_server.secret(user))
            (tmp_path / user).chmod(0o600)
        prefix = "HORDE_STORAGE_ROUTER_"
        settings = {
            "S3_ENDPOINT": s3_server.endpoint,
            "S3_SECURE": "false",
            "PRIVATE_ACCESS_KEY": s3_server.access_key(private),
            "PRIVATE_SECRET_FILE": str(tmp_path / private),
            "SHARED_ACCESS_KEY": s3_server.access_key("router-promoter"),
            "SHARED_SECRET_FILE": str(tmp_path / "router-promoter"),
        }
        return {prefix + name: value for name, value in settings.items()}

    assert doctor.failed("storage-router", **told("router-private")) == ""
    assert "reads horde-shared too" in doctor.failed("storage-router", **told("admin"))
    missing = told("router-private") | {"HORDE_STORAGE_ROUTER_PRIVATE_BUCKET": "horde-releases"}
    assert "AccessDenied" in doctor.failed("storage-router", **missing)


@pytest.mark.parametrize(("apart", "grades"), [(CLOCK_SECONDS / 2, []), (CLOCK_SECONDS * 2, [Grade.FAIL])])
def test_clocks_that_disagree(apart: float, grades: list[Grade]) -> None:
    assert [each.grade for each in clock("x", NOW + timedelta(seconds=apart), NOW)] == grades
    assert [each.grade for each in clock("x", NOW - timedelta(seconds=apart), NOW)] == grades


def test_settings_from_a_file(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "mesh.env").write_text("# of the ledger\nexport HORDE_LEDGER_GRACE_SECONDS='soon'\n")
    assert "HORDE_LEDGER_GRACE_SECONDS" in doctor.failed("--offline", "--env-file", "mesh.env")
