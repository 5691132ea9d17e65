"""What the things outside say: databases, Redis, buckets and the services' neighbours, each asked once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from horde.cli.doctor.verdicts import Settings, Verdict, fail, ok, warn
from horde.cli.local.roles import Role
from horde.services.certificates import explain
from horde.services.errors import ServiceError
from horde.services.settings import ServiceSettings

ANSWER_SECONDS: Final = 5.0
"""How long whoever is asked may take."""
CLOCK_SECONDS: Final = 2.0
"""How far two clocks may be apart: tokens and leases hold for minutes."""
DURABLE: Final = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
"""What PostgreSQL must be set to, or it forgets what it has said to be written."""
DURABLE_COMMIT: Final = ("on", "remote_write", "remote_apply", "local")

Now = Callable[[], datetime]


async def asked(settings: Settings, now: Now) -> AsyncIterator[Verdict]:
    """Everything that has to be asked for."""
    for role, setting in settings.items():
        if url := getattr(setting, "database_url", ""):
            for verdict in await asyncio.to_thread(list, database(role.value, url, now)):
                yield verdict
        if (redis := getattr(setting, "redis", None)) is not None and (address := redis()) is not None:
            for verdict in await redis_server(role.value, address, now):
                yield verdict
        if getattr(setting, "s3_endpoint", ""):
            for verdict in await (
                buckets(setting) if hasattr(setting, "private_access_key") else readable(role.value, setting)
            ):
                yield verdict
        for verdict in await neighbours(role, setting):
            yield verdict


def database(name: str, url: str, now: Now) -> Iterator[Verdict]:
    """One database: there, durable, of the right time."""
    subject = f"{name}'s database"
    if not url.startswith("postgresql"):
        return
    import psycopg

    from horde.services.sql import too_old

    try:
        address = "postgresql" + url[url.index(":") :]
        with psycopg.connect(address, connect_timeout=int(ANSWER_SECONDS)) as connection:
            found: dict[str, str] = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
            row = connection.execute("SELECT clock_timestamp()").fetchone()
            wrong = too_old(connection.info.server_version)
    except psycopg.Error as error:
        yield fail(subject, f"it does not answer: {str(error).strip().splitlines()[-1]}")
        return
    if wrong:
        yield fail(subject, wrong)
    loose = [name for name in DURABLE if found[name] not in (DURABLE_COMMIT if "commit" in name else ("on",))]
    if loose:
        yield fail(subject, f"{', '.join(loose)} off: it forgets what it has said to be written")
    else:
        yield ok(subject, f"PostgreSQL {found['server_version']}, and durable")
    if row is not None:
        yield from clock(subject, row[0], now())


async def redis_server(name: str, address: Any, now: Now) -> list[Verdict]:
    """Redis: there, and what it does when it is full."""
    from redis.exceptions import RedisError

    subject = f"{name}'s Redis"
    client = address.client(ANSWER_SECONDS)
    try:
        seconds, _ = await client.time()
        configured = await client.config_get("maxmemory-policy")
    except (RedisError, OSError) as error:
        return [fail(subject, f"it does not answer: {error}")]
    finally:
        await client.aclose()
    policy = configured.get("maxmemory-policy") or configured.get(b"maxmemory-policy", b"").decode()
    verdicts = list(clock(subject, datetime.fromtimestamp(int(seconds), UTC), now()))
    if policy.startswith("allkeys"):
        verdicts.append(
            warn(subject, f"maxmemory-policy {policy}: limits are forgotten when it is full; use volatile-ttl")
        )
    else:
        verdicts.append(ok(subject, f"maxmemory-policy {policy or 'unknown'}"))
    return verdicts


async def buckets(settings: Any) -> list[Verdict]:
    """The two buckets: there, honouring If-None-Match, and each closed to the other's credential."""
    from horde.buckets.s3 import S3Bucket

    def opened(bucket: str, key: str, secret: Path, *, read_only: bool) -> S3Bucket:
        text = secret.read_text().strip()
        return S3Bucket(
            settings.s3_endpoint, bucket, key, text, settings.s3_region, settings.s3_secure, read_only=read_only
        )

    private = (settings.private_bucket, settings.private_access_key, settings.private_secret_file)
    shared = (settings.shared_bucket, settings.shared_access_key, settings.shared_secret_file)
    verdicts = []
    for (bucket, key, secret), (other, _, _) in ((private, shared), (shared, private)):
        subject = f"the bucket {bucket}"
        try:
            async with opened(bucket, key, secret, read_only=False):
                verdicts.append(ok(subject, "written, and If-None-Match is honoured"))
        except (ServiceError, OSError) as error:
            verdicts.append(fail(subject, getattr(error, "message", "") or str(error)))
            continue
        try:
            async with opened(other, key, secret, read_only=True):
                verdicts.append(
                    fail(subject, f"its credential {key} reads {other} too: a mistake would make pictures public")
                )
        except ServiceError:
            verdicts.append(ok(subject, f"its credential does not reach {other}"))
    return verdicts


async def readable(name: str, settings: Any) -> list[Verdict]:
    """The buckets that a service of one credential looks into."""
    from horde.buckets.s3 import S3Bucket

    verdicts = []
    for bucket in (getattr(settings, field) for field in type(settings).model_fields if field.endswith("_bucket")):
        subject = f"the bucket {bucket}, for {name}"
        try:
            secret = settings.secret_file.read_text().strip()
            where = (settings.s3_endpoint, bucket, settings.access_key, secret, settings.s3_region, settings.s3_secure)
            async with S3Bucket(*where, read_only=True):
                verdicts.append(ok(subject, "can be listed"))
        except (ServiceError, OSError) as error:
            verdicts.append(fail(subject, getattr(error, "message", "") or str(error)))
    return verdicts


async def neighbours(role: Role, settings: ServiceSettings) -> list[Verdict]:
    """Whether a service's neighbours can be reached as it is told."""
    files = settings.tls() if settings.tls_authorities is not None else None
    names = {other.value.replace("-", "_"): other for other in Role}
    verdicts = []
    for field in type(settings).model_fields:
        target = getattr(settings, field)
        if field not in names or not isinstance(target, str) or not target:
            continue
        subject = f"{role.value} to {names[field].value}"
        if files is not None:
            why = await explain(target, files)
        else:
            why = await _connects(target)
        verdicts.append(warn(subject, f"{target}, from here: {why}") if why else ok(subject, f"{target} answers"))
    return verdicts


async def _connects(target: str) -> str:
    host, _, port = target.removeprefix("dns:///").rpartition(":")
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", "") or error or type(error).__name__)
    writer.close()
    return ""


def clock(subject: str, theirs: datetime, ours: datetime) -> Iterator[Verdict]:
    """Whether two clocks agree."""
    apart = abs((theirs - ours).total_seconds())
    if apart > CLOCK_SECONDS:
        yield fail(
            subject, f"its clock and this machine's are {apart:.0f} s apart: leases and tokens end early or late"
        )
