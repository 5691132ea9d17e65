"""`horde storage init`, typed: on a real server that knows an administrator and nothing else, and on folders."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.buckets.test_credentials import ALLOWED, BUCKETS, KEY, READS, WRITES, is_allowed

from horde.buckets.s3 import S3Bucket
from horde.testkit.s3 import REGION, ThrowawayS3, throwaway_s3

ROOT = Path(__file__).parents[3]
ORIGIN = "https://pictures.example"


@pytest.fixture(scope="module")
def bare_server() -> Iterator[ThrowawayS3]:
    """A server without buckets and without users."""
    with throwaway_s3((), ()) as server:
        yield server


def run(*words: str, status: int = 0) -> str:
    """What it writes."""
    command = [sys.executable, "-m", "horde.cli.commands.main", "storage", "init", *words]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "AWS_MAX_ATTEMPTS": "1"})
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def words_for(server: ThrowawayS3, folder: Path) -> list[str]:
    secret = folder / "admin.secret"
    secret.write_text(server.secret("admin"))
    return [
        *("--endpoint", f"http://{server.endpoint}", "--access-key", server.access_key("admin")),
        *("--secret-file", str(secret), "--secrets", str(folder / "secrets"), "--web-origin", ORIGIN),
    ]


@pytest.mark.s3
async def test_a_bare_server_gets_all_and_each_credential_may_do_what_the_table_says(
    bare_server: ThrowawayS3, tmp_path: Path
) -> None:
    words = words_for(bare_server, tmp_path)
    planned = run(*words, "--dry-run")
    assert "would make bucket horde-private" in planned
    assert not bare_server.admin().list_buckets()
    assert not (tmp_path / "secrets").exists()
    made = run(*words)
    assert sorted(line.removeprefix("would ") for line in planned.splitlines()) == sorted(made.splitlines())
    assert run(*words) == "nothing to change\n"
    assert {bucket.name for bucket in bare_server.admin().list_buckets()} == set(BUCKETS)
    for path in (tmp_path / "secrets").iterdir():
        assert path.stat().st_mode & 0o077 == 0

    def bucket_of(user: str, bucket: str) -> S3Bucket:
        key, secret = ((tmp_path / "secrets" / f"{user}.{ending}").read_text() for ending in ("key", "secret"))
        return S3Bucket(bare_server.endpoint, bucket, key, secret, REGION, secure=False)

    for user, bucket in itertools.product(ALLOWED, BUCKETS):
        bare_server.admin().put_object(bucket, KEY, io.BytesIO(b"x"), 1)
        opened = bucket_of(user, bucket)
        allowed = {action for action in (*READS, *WRITES) if await is_allowed(opened, action, KEY)}
        assert allowed == ALLOWED[user].get(bucket, set()), (user, bucket)


@pytest.mark.s3
def test_what_somebody_changed_is_put_right_and_nothing_else_is_touched(
    bare_server: ThrowawayS3, tmp_path: Path
) -> None:
    words = words_for(bare_server, tmp_path)
    run(*words)
    bare_server.admin().delete_bucket_lifecycle("horde-private")
    changed = run(*words).splitlines()
    assert changed == ["set lifecycle of horde-private: quarantine, claims, unfinished", "1 changes"]
    closed = [*words[:-2], "--dry-run"]
    assert run(*closed).splitlines()[:-1] == [
        f"would let web pages read {name} by a link: none" for name in ("horde-private", "horde-shared")
    ]


def test_folders_are_made_for_this_user_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    planned = run("--folders", str(state), "--dry-run")
    assert planned.count("would make folder") == len(BUCKETS)
    assert not state.exists()
    run("--folders", str(state))
    assert {path.name for path in state.iterdir()} == {"private", "shared", "releases"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in state.iterdir())
    (state / "shared").chmod(0o755)
    assert run("--folders", str(state)).splitlines() == [f"keep others out of {state / 'shared'}", "1 changes"]
    assert run("--folders", str(state)) == "nothing to change\n"


def test_buckets_may_have_other_names_and_a_wrong_word_is_told(tmp_path: Path) -> None:
    assert "there is no bucket horde-secret" in run("--folders", str(tmp_path), "--name", "horde-secret=x", status=2)
    assert "say --endpoint or --folders" in run(status=2)
    assert "are needed" in run("--endpoint", "http://127.0.0.1:1", status=2)
    secret = tmp_path / "secret"
    secret.write_text("x")
    unreachable = ["--endpoint", "http://127.0.0.1:1", "--access-key", "x", "--secret-file", str(secret)]
    assert "error:" in run(*unreachable, status=6)
