"""A real Kubernetes API server on this machine for as long as a block: no kubelet, so nothing that it is told runs."""

from __future__ import annotations

import base64
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from horde.cli.local.ports import free_ports

START_SECONDS: Final = 240.0
TOKEN: Final = "administrator-of-this-run"
KUBECTL: Final = str(Path(sys.executable).with_name("kubectl"))


class Missing(Exception):
    """A program is not here; the message says which, and how to name it."""


def program(name: str, variable: str) -> str:
    """Where a program is: as a variable says, or on PATH. Raises Missing."""
    found = shutil.which(os.environ.get(variable) or name)
    if found is None:
        raise Missing(f"no {name} here: put it on PATH, or name it with {variable}")
    return found


@dataclass(frozen=True)
class Cluster:
    """An API server, as `kubectl` reaches it."""

    kubeconfig: Path

    def kubectl(self, *words: str, objects: Sequence[dict[str, Any]] = ()) -> subprocess.CompletedProcess[str]:
        """What kubectl says, of these objects where there are any; it may have failed."""
        told = yaml.safe_dump_all(objects, sort_keys=False) if objects else None
        command = [KUBECTL, f"--kubeconfig={self.kubeconfig}", *words]
        return subprocess.run(command, check=False, capture_output=True, text=True, input=told)

    def minor(self) -> int:
        """27 of Kubernetes 1.27. Raises Missing for a server that was built without its version."""
        version = yaml.safe_load(self.kubectl("version", "-o", "yaml").stdout)["serverVersion"]
        if not (minor := str(version["minor"]).rstrip("+")):
            raise Missing("this kube-apiserver does not say its version: build it with one")
        return int(minor)

    def knows(self) -> tuple[set[str], set[str]]:
        """Every version of a group, `apps/v1`, and every kind."""
        versions = self.kubectl("api-versions").stdout.split()
        # The kind is the last column; each stands there by the version that is preferred, and others are served, too.
        lines = self.kubectl("api-resources", "--no-headers").stdout.splitlines()
        return set(versions), {line.split()[-1] for line in lines}


@contextmanager
def api_server() -> Iterator[Cluster]:
    """An API server with an etcd that keeps nothing. Raises Missing."""
    apiserver, etcd = program("kube-apiserver", "HORDE_KUBE_APISERVER"), program("etcd", "HORDE_ETCD")
    client, peer, port = free_ports(3)
    with tempfile.TemporaryDirectory() as name, _log(Path(name)) as log:
        folder = Path(name)
        store = f"http://127.0.0.1:{client}"
        of_peer = f"http://127.0.0.1:{peer}"
        began = [
            subprocess.Popen(
                [etcd, f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", f"--listen-client-urls={store}",
                 f"--advertise-client-urls={store}", f"--listen-peer-urls={of_peer}", "--name=only",
                 f"--initial-advertise-peer-urls={of_peer}", f"--initial-cluster=only={of_peer}"],
                stdout=log, stderr=log,
            ),
            subprocess.Popen([apiserver, f"--etcd-servers={store}", *_flags(folder, port)], stdout=log, stderr=log),
        ]  # fmt: skip
        try:
            _ready(port, began, Path(name) / "log")
            yield Cluster(_kubeconfig(folder, port))
        finally:
            for process in reversed(began):
                process.terminate()
                process.wait()


@contextmanager
def _log(folder: Path) -> Iterator[Any]:
    with (folder / "log").open("w") as log:
        yield log


def _flags(folder: Path, port: int) -> Iterator[str]:
    """What the API server is told."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = serialization.Encoding.PEM
    (folder / "accounts.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "accounts.pub").write_bytes(public)
    (folder / "tokens").write_text(f"{TOKEN},administrator,1,system:masters\n")
    yield f"--secure-port={port}"
    yield "--bind-address=127.0.0.1"
    yield "--advertise-address=127.0.0.1"
    yield f"--cert-dir={folder / 'certificates'}"
    yield f"--token-auth-file={folder / 'tokens'}"
    yield "--authorization-mode=RBAC"
    yield "--service-cluster-ip-range=10.96.0.0/16"
    yield "--service-account-issuer=https://kubernetes.default.svc"
    yield f"--service-account-key-file={folder / 'accounts.pub'}"
    yield f"--service-account-signing-key-file={folder / 'accounts.key'}"
    yield "--endpoint-reconciler-type=none"


def _ready(port: int, processes: Sequence[subprocess.Popen[bytes]], log: Path) -> None:
    """Wait until it serves. Raises RuntimeError with the end of the log."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    asked = urllib.request.Request(f"https://127.0.0.1:{port}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and all(process.poll() is None for process in processes):
        try:
            with urllib.request.urlopen(asked, context=context):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("the API server does not serve:\n" + "".join(log.read_text().splitlines(keepends=True)[-20:]))


def _kubeconfig(folder: Path, port: int) -> Path:
    authority = next((folder / "certificates").glob("*.crt")).read_bytes()
    told = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "this",
        "clusters": [
            {
                "name": "this",
                "cluster": {
                    "server": f"https://127.0.0.1:{port}",
                    "certificate-authority-data": base64.b64encode(authority).decode(),
                    "tls-server-name": "kubernetes.default.svc",
                },
            }
        ],
        "users": [{"name": "administrator", "user": {"token": TOKEN}}],
        "contexts": [{"name": "this", "context": {"cluster": "this", "user": "administrator"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(told))
    path.chmod(0o600)
    return path
