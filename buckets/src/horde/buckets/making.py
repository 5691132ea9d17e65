"""Makes a store what it is to be, one step for each thing that is otherwise; run again, there is nothing to do.

Through `botocore`, which speaks S3 and IAM: AWS has both, SeaweedFS too. MinIO knows no IAM; there `mc admin` takes the
same policy files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from horde.buckets.wanted import Document, Wanted, WantedBucket, same_policy

POLICY: Final = "horde"
"""The name of a user's policy."""
_NONE: Final = frozenset(
    {
        "404",
        "NoSuchBucket",
        "NoSuchCORSConfiguration",
        "NoSuchEntity",
        "NoSuchLifecycleConfiguration",
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is not yet as it is to be."""

    words: str
    do: Callable[[], object]


class S3Making:
    """An S3 server and its IAM, with an administrator's credential."""

    def __init__(self, s3: Any, iam: Any | None, secrets: Path) -> None:
        self._s3 = s3
        self._iam = iam
        self._secrets = secrets

    def steps(self, wanted: Wanted) -> Iterator[Step]:
        """What is to be done, in an order in which it can be; each is found when those before it were carried out."""
        for bucket in wanted.buckets:
            yield from self._bucket_steps(bucket)
        if self._iam is not None:
            for user, policy in wanted.policies.items():
                yield from self._user_steps(user, policy)

    def _bucket_steps(self, bucket: WantedBucket) -> Iterator[Step]:
        name = bucket.name
        if _find(lambda: self._s3.head_bucket(Bucket=name)) is None:
            yield Step(f"make bucket {name}", lambda: self._s3.create_bucket(Bucket=name))
        found = _find(lambda: self._s3.get_bucket_lifecycle_configuration(Bucket=name))
        if _rules(found) != _by_id(bucket.lifecycle):
            rules = {"Rules": list(bucket.lifecycle)}
            yield Step(
                f"set lifecycle of {name}: {', '.join(_by_id(bucket.lifecycle))}",
                lambda: self._s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration=rules),
            )
        found = _find(lambda: self._s3.get_bucket_cors(Bucket=name))
        if ([] if found is None else found["CORSRules"]) != list(bucket.cors):
            origins = ", ".join(origin for rule in bucket.cors for origin in rule["AllowedOrigins"])
            yield Step(f"let web pages read {name} by a link: {origins or 'none'}", lambda: self._set_cors(bucket))

    def _set_cors(self, bucket: WantedBucket) -> None:
        if bucket.cors:
            self._s3.put_bucket_cors(Bucket=bucket.name, CORSConfiguration={"CORSRules": list(bucket.cors)})
        else:
            self._s3.delete_bucket_cors(Bucket=bucket.name)

    def _user_steps(self, user: str, policy: Document) -> Iterator[Step]:
        assert self._iam is not None
        iam = self._iam
        if _find(lambda: iam.get_user(UserName=user)) is None:
            yield Step(f"make user {user}", lambda: iam.create_user(UserName=user))
        found = _find(lambda: iam.get_user_policy(UserName=user, PolicyName=POLICY))
        if found is None or not same_policy(found["PolicyDocument"], policy):
            text = json.dumps(policy)
            yield Step(
                f"set policy of {user}",
                lambda: iam.put_user_policy(UserName=user, PolicyName=POLICY, PolicyDocument=text),
            )
        keys = _find(lambda: iam.list_access_keys(UserName=user))
        if not (keys and keys["AccessKeyMetadata"]):
            yield Step(f"make a key for {user}: {self._secrets / user}.key and .secret", lambda: self._make_key(user))

    def _make_key(self, user: str) -> None:
        assert self._iam is not None
        made = self._iam.create_access_key(UserName=user)["AccessKey"]
        self._secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        for ending, text in (("key", made["AccessKeyId"]), ("secret", made["SecretAccessKey"])):
            path = self._secrets / f"{user}.{ending}"
            path.unlink(missing_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as opened:
                opened.write(text)


class FolderMaking:
    """Folders in the place of buckets: this user's alone. There are no credentials but the system's."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def steps(self, wanted: Wanted) -> Iterator[Step]:
        """As of a server."""
        for bucket in wanted.buckets:
            folder = self._root / bucket.folder
            if not folder.is_dir():
                yield Step(f"make folder {folder}", partial(folder.mkdir, mode=0o700, parents=True))
            elif folder.stat().st_mode & 0o077:
                yield Step(f"keep others out of {folder}", partial(folder.chmod, 0o700))


def _find(call: Callable[[], Any]) -> Any | None:
    try:
        return call()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code", "") in _NONE:
            return None
        raise


def _rules(found: Any | None) -> dict[str, Document]:
    return {} if found is None else _by_id(found["Rules"])


def _by_id(rules: Any) -> dict[str, Document]:
    return {rule["ID"]: rule for rule in rules}
