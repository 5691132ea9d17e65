"""Runs the images as pods, from the rendered chart, and has a picture painted: `make rehearsal`.

Podman plays the Deployments that the chart makes, with their limits, read-only roots and Secrets. What a cluster has
and podman has not: certificates of an authority of this run stand for cert-manager, all pods share this machine's
loopback with the names of the Services in their `hosts`, and PostgreSQL, Redis and S3 are throwaway ones beside them.
The images are those of `make images`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import charts
import yaml
from click.testing import CliRunner

from horde.cli.commands.main import main as horde
from horde.cli.local.mesh import says_serving
from horde.cli.local.ports import free_ports
from horde.cli.local.roles import Role
from horde.clients.client import HordeClient
from horde.clients.credentials import new_anonymous_token
from horde.clients.specs import generation_spec
from horde.testkit.certificates import Authority
from horde.testkit.postgres import throwaway_postgres
from horde.testkit.redis import throwaway_redis
from horde.testkit.s3 import throwaway_s3
from horde.testkit.waiting import HANG_SECONDS

POD: Final = ("ledger", "storage-router", "scheduler", "gateway", "curation", "webhooks", "web-door")
BUCKETS: Final = ("horde-private", "horde-shared", "horde-releases")
SOCKET: Final = "/sql"
"""Where pods find PostgreSQL's socket: the throwaway one listens nowhere else."""
USER: Final = 10001
"""Whom the images run as."""
PODMAN: Final = shutil.which("podman") or "podman"


class Backends:
    """What the chart refers to, running on this machine, with the Secrets that name it."""

    def __init__(self, stack: ExitStack) -> None:
        self._sql = stack.enter_context(throwaway_postgres())
        self.socket = self._sql.socket
        self.redis = stack.enter_context(throwaway_redis()).url
        self._s3 = stack.enter_context(throwaway_s3(BUCKETS))
        self.s3 = self._s3.endpoint

    def secrets(self) -> Iterator[dict[str, Any]]:
        for service in ("ledger", "scheduler", "gateway", "curation", "webhooks"):
            url = self._sql.database().replace(self.socket, SOCKET)
            yield secret(f"horde-{service}-database", {"url": url.encode()})
        users = {"private": "router-private", "shared": "router-promoter"}
        credentials = {f"{door}-access-key": self._s3.access_key(user).encode() for door, user in users.items()}
        credentials |= {f"{door}-secret": self._s3.secret(user).encode() for door, user in users.items()}
        yield secret("horde-storage-router-s3", credentials)
        own = {"access-key": self._s3.access_key("curation"), "secret": self._s3.secret("curation")}
        yield secret("horde-curation-s3", {name: text.encode() for name, text in own.items()})


def secret(name: str, content: Mapping[str, bytes]) -> dict[str, Any]:
    """A Secret."""
    data = {key: base64.b64encode(value).decode() for key, value in content.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "data": data}


def keys(folder: Path) -> Iterator[dict[str, Any]]:
    """What an operator makes of `horde keys init`."""
    CliRunner().invoke(horde, ["keys", "init", str(folder)], catch_exceptions=False)
    yield secret("horde-keys", {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
    public = {path.name: path.read_text() for path in (folder / "public").iterdir()}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "horde-public-keys"}, "data": public}


def certificates(folder: Path) -> Iterator[dict[str, Any]]:
    """What cert-manager would make of the chart's Certificates."""
    authority = Authority(folder)
    for manifest in charts.rendered({}):
        if manifest["kind"] == "Certificate" and not manifest["spec"].get("isCA"):
            files = authority.issue(*manifest["spec"]["dnsNames"])
            parts = {"tls.crt": files.certificate, "tls.key": files.key, "ca.crt": files.authorities}
            content = {name: path.read_bytes() for name, path in parts.items() if path is not None}
            yield secret(manifest["spec"]["secretName"], content)


def values(backends: Backends, ports: Mapping[str, int]) -> dict[str, Any]:
    """The chart's values here: one of each, every port one that is free, as all share one loopback."""
    services: dict[str, Any] = {}
    every = yaml.safe_load((charts.CHART / "values.yaml").read_text())["services"]
    for name, pod in every.items():
        own = {"replicas": 1, "autoscaling": None}
        own |= {key: ports[f"{name} {key}"] for key in ("port", "doorPort") if key in pod}
        listens = {f"{what}_LISTEN": f"127.0.0.1:{ports[f'{name} {what}']}" for what in ("HEALTH", "METRICS")}
        own["settings"] = {**pod["settings"], **listens}
        if "s3" in pod:
            own["s3"] = {"endpoint": backends.s3}
            own["settings"]["S3_SECURE"] = "false"
        services[name] = own
    services["gateway"]["redis"] = {"url": backends.redis}
    doors = {"storage": f"127.0.0.1:{ports['storage-router doorPort']}", "proxies": "127.0.0.0/8"}
    return {"tls": {"source": "secrets"}, "networkPolicies": {"enabled": False}, "doors": doors, "services": services}


class Volumes:
    """What a kubelet would mount, as folders of this machine, owned by the pods' user.

    Podman 4.3 itself hands Secrets on undecoded and readable by all, and gives all pods one emptyDir.
    """

    def __init__(self, folder: Path, objects: Sequence[Mapping[str, Any]]) -> None:
        self._folder = folder
        folder.mkdir()
        self._contents = {object_["metadata"]["name"]: contents(object_) for object_ in objects}

    def mounted(self, volume: Mapping[str, Any]) -> dict[str, Any]:
        """The same volume as a folder."""
        place = Path(tempfile.mkdtemp(prefix=f"{volume['name']}-", dir=self._folder))
        source = volume.get("secret") or volume.get("configMap") or {}
        files = self._contents.get(source.get("secretName") or source.get("name"), {})
        wanted = {item["key"]: item["path"] for item in source.get("items", ())} or {name: name for name in files}
        for name, path in wanted.items():
            (place / path).write_bytes(files[name])
            (place / path).chmod(source.get("defaultMode", 0o644))
        for path in (place, *place.iterdir()):
            shutil.chown(path, USER, USER)
        return {"name": volume["name"], "hostPath": {"path": str(place)}}

    def file(self, name: str, text: str) -> Path:
        """A file that everybody may read."""
        path = self._folder / name
        path.write_text(text)
        path.chmod(0o644)
        return path


def contents(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """The files that a Secret or a ConfigMap holds."""
    is_secret = manifest["kind"] == "Secret"
    return {name: base64.b64decode(text) if is_secret else text.encode() for name, text in manifest["data"].items()}


def deployments(values: Mapping[str, Any], socket_folder: str, volumes: Volumes) -> Iterator[dict[str, Any]]:
    """The chart's, at this machine's network and with its folders."""
    names = [f"{charts.RELEASE}-{service}.{charts.NAMESPACE}.svc" for service in POD]
    hosts = volumes.file("hosts", f"127.0.0.1 localhost {' '.join(names)}\n")
    for manifest in charts.rendered(values):
        if manifest["kind"] == "Deployment":
            pod = manifest["spec"]["template"]["spec"]
            pod["hostNetwork"] = True
            pod["volumes"] = [volumes.mounted(volume) for volume in pod["volumes"]]
            pod["volumes"].append({"name": "sql", "hostPath": {"path": socket_folder}})
            (container,) = pod["containers"]
            container["volumeMounts"].append({"name": "sql", "mountPath": SOCKET})
            # Podman 4.3 does not hear of `hostAliases` where the network is the machine's.
            pod["volumes"].append({"name": "hosts", "hostPath": {"path": str(hosts), "type": "File"}})
            container["volumeMounts"].append({"name": "hosts", "mountPath": "/etc/hosts", "readOnly": True})
            # Podman would publish them, and they are this machine's already.
            del container["ports"]
            container["image"] = f"localhost/{container['image']}"
            yield manifest


@contextmanager
def played(pods: list[dict[str, Any]], secrets: Sequence[Mapping[str, Any]], file: Path) -> Iterator[None]:
    """The pods, for as long as the block. Podman reads Secrets for variables from its own, in a form of their own."""
    file.write_text(yaml.safe_dump_all(pods))
    names = [secret["metadata"]["name"] for secret in secrets]
    try:
        for secret in secrets:
            podman("secret", "create", secret["metadata"]["name"], "-", told=json.dumps(secret["data"]))
        podman("kube", "play", "--quiet", str(file))
        yield
    finally:
        # Not `kube down`: it ends at the first pod that was not made.
        podman("pod", "rm", "--force", "--ignore", *(f"{pod['metadata']['name']}-pod-0" for pod in pods))
        podman("secret", "rm", *names)


def podman(*words: str, told: str | None = None) -> None:
    """Have podman do something. Raises CalledProcessError."""
    subprocess.run([PODMAN, *words], check=True, input=told, text=True, stdout=subprocess.DEVNULL)


async def paint(folder: Path, ports: Mapping[str, int]) -> None:
    """A worker joins, and a stranger asks for a picture."""
    gateway = f"127.0.0.1:{ports['gateway doorPort']}"
    stranger = HordeClient(gateway, credential=new_anonymous_token(), config_folder=folder / "config")
    async with stranger as client:
        opened = await client.accounts.create("a worker's owner")
        key = folder / "worker.key"
        key.touch(mode=0o600)
        key.write_text(opened.api_key)
        settings = {
            "GATEWAY": gateway,
            "API_KEY_FILE": str(key),
            "PAINTER": "scripted",
            "STATE_DIR": str(folder / "worker"),
        }
        environment = {f"HORDE_WORKER_{name}": text for name, text in settings.items()}
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", Role.WORKER.module, env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            spec = generation_spec("a red star", width=64, height=64, steps=4)
            async with asyncio.timeout(HANG_SECONDS), client.generation(spec) as session:
                pictures = [content async for _, content in session.pictures()]
        finally:
            worker.terminate()
            await worker.wait()
    print(f"a picture of {len(pictures[0])} bytes", flush=True)


async def serving(ports: Mapping[str, int]) -> None:
    """Wait until every pod is ready, as its readiness probe asks."""
    async with asyncio.timeout(HANG_SECONDS):
        await asyncio.gather(*(says_serving(f"127.0.0.1:{ports[f'{service} HEALTH']}") for service in POD))


def tell() -> None:
    """What the pods last said."""
    for service in POD:
        name = f"{charts.RELEASE}-{service}-pod-0-{service}"
        logs = subprocess.run([PODMAN, "logs", "--tail", "15", name], check=False, capture_output=True, text=True)
        sys.stderr.write(f"== {name}\n{logs.stdout}{logs.stderr}\n")


def free(names: list[str]) -> dict[str, int]:
    """A free port for each name."""
    return dict(zip(names, free_ports(len(names)), strict=True))


def main() -> int:
    """Everything; 0 if a picture was painted."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        backends = Backends(stack)
        kinds = ("port", "doorPort", "HEALTH", "METRICS")
        ports = free([f"{service} {kind}" for service in POD for kind in kinds])
        objects = [*keys(folder / "keys"), *certificates(folder / "tls"), *backends.secrets()]
        volumes = Volumes(folder / "volumes", objects)
        pods = list(deployments(values(backends, ports), backends.socket, volumes))
        secrets = [object_ for object_ in objects if object_["kind"] == "Secret"]
        began = time.monotonic()
        # Others than root must come to their volumes.
        folder.chmod(0o755)
        with played(pods, secrets, folder / "pods.yaml"):
            try:
                asyncio.run(serving(ports))
                print(f"{len(POD)} pods serve after {time.monotonic() - began:.0f} s", flush=True)
                asyncio.run(paint(folder, ports))
            except BaseException:
                tell()
                raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
