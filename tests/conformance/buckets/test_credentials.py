"""Who may do what in which bucket, by the policies that are deployed, on a real server: every cell of the table."""

from __future__ import annotations

import itertools

import pytest

from horde.buckets.errors import StoreUnavailable
from horde.buckets.s3 import S3Bucket
from horde.testkit.s3 import POLICIES, REGION, ThrowawayS3

BUCKETS = ("horde-private", "horde-shared", "horde-releases")
WRITES = ("put", "delete")
READS = ("read", "list")
ALLOWED = {
    "router-private": {"horde-private": {*READS, *WRITES}},
    "router-promoter": {"horde-shared": {*READS, *WRITES}},
    "release-builder": {"horde-shared": {*READS}, "horde-releases": {*READS, *WRITES}},
    # Verdicts go elsewhere, see below.
    "curation": {"horde-shared": {*READS}, "horde-releases": {*READS}},
    "researcher": {"horde-releases": {*READS}},
    # It may see which private objects there are, and read none.
    "auditor": {"horde-shared": {*READS}, "horde-private": {"list"}},
}
KEY = "releases/table/x"


def bucket_of(server: ThrowawayS3, user: str, bucket: str) -> S3Bucket:
    return S3Bucket(server.endpoint, bucket, server.access_key(user), server.secret(user), REGION, secure=False)


async def is_allowed(bucket: S3Bucket, action: str, key: str) -> bool:
    try:
        match action:
            case "put":
                await bucket.put(f"{key}-new", b"x")
            case "delete":
                await bucket.delete(f"{key}-new")
            case "read":
                await bucket.read(key)
            case _:
                await bucket.page("releases/")
    except StoreUnavailable:
        return False
    return True


def test_the_table_names_every_policy() -> None:
    assert {path.stem for path in POLICIES} == set(ALLOWED)


@pytest.mark.s3
@pytest.mark.parametrize(("user", "bucket"), list(itertools.product(ALLOWED, BUCKETS)))
async def test_a_credential_may_do_what_its_policy_says_and_nothing_else(
    s3_server: ThrowawayS3, user: str, bucket: str
) -> None:
    await bucket_of(s3_server, "admin", bucket).put(KEY, b"x")
    opened = bucket_of(s3_server, user, bucket)
    allowed = {action for action in (*READS, *WRITES) if await is_allowed(opened, action, KEY)}
    assert allowed == ALLOWED[user].get(bucket, set())


@pytest.mark.s3
async def test_curation_writes_verdicts_and_no_image(s3_server: ThrowawayS3) -> None:
    curation = bucket_of(s3_server, "curation", "horde-shared")
    assert await is_allowed(curation, "put", "moderation/t.json")
    for key in ("images/t.json", "withdrawn/t.json", "journal/2026-11-26T13/t", "withdrawals/2026-11-26T13/t"):
        assert not await is_allowed(curation, "put", key)
        assert not await is_allowed(curation, "delete", key)
    await bucket_of(s3_server, "admin", "horde-shared").delete("moderation/t.json-new")


@pytest.mark.s3
async def test_a_researcher_reads_what_is_released_and_no_note_of_a_builder(s3_server: ThrowawayS3) -> None:
    admin = bucket_of(s3_server, "admin", "horde-releases")
    for key in ("finished/t.json", "building/t/plan.json", "undecided/t.json"):
        await admin.put(key, b"x")
    researcher = bucket_of(s3_server, "researcher", "horde-releases")
    assert await is_allowed(researcher, "read", "finished/t.json")
    assert not await is_allowed(researcher, "read", "building/t/plan.json")
    assert not await is_allowed(researcher, "read", "undecided/t.json")
    for key in ("finished/t.json", "building/t/plan.json", "undecided/t.json"):
        await admin.delete(key)


@pytest.mark.s3
async def test_a_refusal_says_what_was_asked_where_and_with_which_credential(
    s3_server: ThrowawayS3, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = bucket_of(s3_server, "researcher", "horde-private")
    with pytest.raises(StoreUnavailable) as caught:
        await wrong.__aenter__()
    log = capsys.readouterr().err
    for fact in (
        s3_server.endpoint,
        "horde-private",
        s3_server.access_key("researcher"),
        "ListObjects",
        "AccessDenied",
    ):
        assert fact in caught.value.message
        assert fact in log
    # Later it is said to the log alone: whoever asked may be a stranger.
    with pytest.raises(StoreUnavailable) as caught:
        await wrong.put(KEY, b"x")
    assert s3_server.endpoint not in caught.value.message


@pytest.mark.s3
async def test_a_wrong_secret_and_a_bucket_that_is_not_there_are_told_apart(s3_server: ThrowawayS3) -> None:
    key = s3_server.access_key("router-private")
    secret = s3_server.secret("router-private")
    told = []
    for name, used in (("horde-private", "wrong" * 8), ("horde-nowhere", s3_server.secret("admin"))):
        who = key if used != s3_server.secret("admin") else s3_server.access_key("admin")
        with pytest.raises(StoreUnavailable) as caught:
            await S3Bucket(s3_server.endpoint, name, who, used, REGION, secure=False).__aenter__()
        assert secret not in caught.value.message
        assert used not in caught.value.message
        told.append(caught.value.message)
    assert "SignatureDoesNotMatch" in told[0]
    assert "NoSuchBucket" in told[1]
