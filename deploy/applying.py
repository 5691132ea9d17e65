"""Applies the chart to a real API server, upgrades it there, goes back, and removes it: `make deploy-apply`.

Every set of values of `charts.py` and every overlay is tried: a dry run on the server, a real apply over the default
set, as an upgrade is, and the default set again. What is stored must be what was rendered. Where the server is as new
as the chart asks for, Helm itself then installs, upgrades, rolls back and uninstalls.

`kube-apiserver` and `etcd` are taken from PATH, or from HORDE_KUBE_APISERVER and HORDE_ETCD; without them this says so
and ends. HORDE_CRDS may name a folder with the CustomResourceDefinitions of cert-manager, the Prometheus operator,
external-secrets, KEDA and the Gateway API, whose objects are left out otherwise. No pod is run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import charts
import yaml
from apiserver import Cluster, Missing, api_server
from helm_python import Chart, Config

NEWEST_NEEDED: Final = 27
"""The chart's own `kubeVersion`: 1.27."""
STRICT: Final = 25
"""From 1.25 on the server itself refuses a field that it does not know."""
Object = dict[str, Any]

OLDER_KINDS: Final = {
    ("policy/v1", "PodDisruptionBudget"): (21, "policy/v1beta1"),
    ("batch/v1", "CronJob"): (21, "batch/v1beta1"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): (23, "autoscaling/v2beta2"),
}
"""What an older server calls a kind, and the minor version from which on it need not."""


@dataclass
class Tally:
    """What became of the objects of one set of values."""

    name: str
    objects: int = 0
    left_out: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def adapted(manifest: Object, minor: int) -> Object:
    """The object as a server older than 1.27 has it."""
    manifest = deepcopy(manifest)
    since, version = OLDER_KINDS.get((manifest["apiVersion"], manifest["kind"]), (0, ""))
    if minor < since:
        manifest["apiVersion"] = version
    spec = manifest.get("spec", {})
    if minor < 26:
        spec.pop("unhealthyPodEvictionPolicy", None)
    if minor < 25:
        spec.pop("timeZone", None)
    if minor < 24:
        for container in _containers(manifest):
            for probe in (part for name, part in container.items() if name.endswith("Probe")):
                if asked := probe.pop("grpc", None):
                    probe["tcpSocket"] = {"port": asked["port"]}
    return manifest


def _containers(manifest: Object) -> Iterator[Object]:
    spec = manifest.get("spec", {})
    template = spec.get("jobTemplate", {}).get("spec", spec).get("template", {})
    if isinstance(template, Mapping):
        yield from template.get("spec", {}).get("containers", ())


def named(manifest: Mapping[str, Any]) -> str:
    """How an object is told apart here."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


class Trial:
    """One server, and what is tried there."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.minor = cluster.minor()
        # An older server drops silently what it does not know: what is stored is compared in any case.
        strict = ("--server-side", "--force-conflicts", "--validate=strict")
        self._words = strict if self.minor >= STRICT else ("--validate=false",)
        self._namespace = f"--namespace={charts.NAMESPACE}"

    def prepare(self, definitions: Path | None) -> None:
        """The namespace, and what other operators define."""
        self._cluster.kubectl("create", "namespace", charts.NAMESPACE)
        if definitions is not None:
            made = self._cluster.kubectl("create", f"--filename={definitions}", "--validate=false")
            sys.stderr.write(made.stderr)
            self._cluster.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=120s")
        self._versions, self._kinds = self._cluster.knows()

    def fitting(self, manifests: Sequence[Object], tally: Tally) -> list[Object]:
        """Those whose kinds it knows, as it knows them."""
        found = []
        for manifest in manifests:
            manifest = adapted(manifest, self.minor)
            if manifest["apiVersion"] in self._versions and manifest["kind"] in self._kinds:
                found.append(manifest)
            else:
                tally.left_out.append(named(manifest))
        tally.objects = len(found)
        return found

    def apply(self, manifests: Sequence[Object], tally: Tally, *, dry: bool = False) -> None:
        """Apply; what is refused, in the server's words."""
        words = ("--dry-run=server",) if dry else ()
        done = self._cluster.kubectl(
            "apply", *self._words, "-f", "-", "-o", "name", self._namespace, *words, objects=manifests
        )
        tally.refused += [line for line in done.stderr.splitlines() if not line.startswith("Warning:")]
        accepted = len(done.stdout.splitlines())
        if accepted + len(tally.refused) < len(manifests):
            tally.refused.append(f"of {len(manifests)} objects {accepted} were accepted")

    def compare(self, manifests: Sequence[Object], tally: Tally) -> None:
        """What was applied and is not stored so."""
        got = self._cluster.kubectl("get", "-o", "yaml", "-f", "-", self._namespace, objects=manifests).stdout
        parsed = yaml.safe_load(got) or {}
        stored = {named(item): item for item in parsed.get("items", [parsed] if parsed else [])}
        for manifest in manifests:
            have = stored.get(named(manifest))
            if have is None:
                tally.lost.append(f"{named(manifest)} is not stored")
            else:
                tally.lost += [f"{named(manifest)} {path}" for path in missing(manifest, have)]

    def remove(self, manifests: Sequence[Object], tally: Tally) -> None:
        """Delete, and look whether anything is left. A namespace stays: nobody here would empty it."""
        manifests = [manifest for manifest in manifests if manifest["kind"] != "Namespace"]
        if manifests:
            self._cluster.kubectl("delete", "-f", "-", self._namespace, "--ignore-not-found", objects=manifests)
            left = self._cluster.kubectl(
                "get", "-f", "-", self._namespace, "--ignore-not-found", "-o", "name", objects=manifests
            )
            tally.lost += [f"{line} is still there" for line in left.stdout.splitlines()]


def missing(rendered: Any, stored: Any, path: str = "") -> Iterator[str]:
    """Where something that was rendered is not in what is stored; defaults may have come."""
    if isinstance(rendered, Mapping) and isinstance(stored, Mapping):
        for key, value in rendered.items():
            if key in stored:
                yield from missing(value, stored[key], f"{path}.{key}")
            elif value not in (None, {}, [], "", False, 0):
                yield f"{path}.{key} was dropped"
    elif isinstance(rendered, list) and isinstance(stored, list) and len(rendered) == len(stored):
        for number, (value, have) in enumerate(zip(rendered, stored, strict=True)):
            yield from missing(value, have, f"{path}[{number}]")
    elif not _same(rendered, stored):
        yield f"{path} is {stored!r}, not {rendered!r}"


def _same(rendered: Any, stored: Any) -> bool:
    # Quantities and ports are written in several ways: 1000m, and "1".
    return rendered == stored or str(rendered) == str(stored) or (rendered is None and stored in ({}, [], ""))


def with_helm(cluster: Cluster) -> str:
    """Install, upgrade, roll back and uninstall with Helm; what became of it."""
    chart = Chart.load(charts.CHART)
    values = charts.merged(charts.NEEDED)
    with Config(kubeconfig_path=cluster.kubeconfig, namespace="helm") as helm:
        helm.install(chart, charts.RELEASE, values, namespace="helm", create_namespace=True)
        newer = charts.merged(values, {"image": {"tag": "9.9.9"}, "settings": {"LOG_LEVEL": "debug"}})
        helm.upgrade(chart, charts.RELEASE, newer, namespace="helm")
        helm.rollback(charts.RELEASE, version=1)
        helm.uninstall(charts.RELEASE)
    left = cluster.kubectl("get", "deployments,services,networkpolicies", "-o", "name", "--namespace=helm").stdout
    return f"left behind: {left.split()}" if left else "installed, upgraded, rolled back, uninstalled"


def trials() -> Iterator[tuple[str, list[Object]]]:
    """Every set of values, the default one with another version of everything, and the overlays."""
    for name, values in charts.VALUES.items():
        yield name, charts.rendered(values)
    yield "the next version", charts.rendered({"image": {"tag": "9.9.9"}, "settings": {"LOG_LEVEL": "debug"}})
    for overlay in charts.overlays():
        yield f"overlay {overlay.name}", charts.built(overlay)


def run(cluster: Cluster) -> int:
    """Try everything; the exit status."""
    trial = Trial(cluster)
    definitions = os.environ.get("HORDE_CRDS")
    trial.prepare(Path(definitions) if definitions else None)
    print(f"Kubernetes 1.{trial.minor}")
    old = trial.minor < NEWEST_NEEDED
    if old:
        print(f"older than 1.{NEWEST_NEEDED}, which the chart asks for: kinds, gRPC probes and two fields are adapted")
    every: list[Tally] = []
    usual = trial.fitting(charts.rendered({}), Tally("default"))
    for name, manifests in trials():
        tally, began = Tally(name), time.monotonic()
        every.append(tally)
        mine = trial.fitting(manifests, tally)
        trial.apply(mine, tally, dry=True)
        trial.apply(mine, tally)
        trial.compare(mine, tally)
        # Back to the usual set, without what only this one has: as an upgrade that is taken back.
        trial.apply(usual, tally)
        trial.compare(usual, tally)
        known = {named(manifest) for manifest in usual}
        trial.remove([manifest for manifest in mine if named(manifest) not in known], tally)
        print(
            f"{name:45} {tally.objects:3} objects, {len(tally.left_out):2} left out, {len(tally.refused)} refused, "
            f"{len(tally.lost)} stored otherwise, {time.monotonic() - began:.0f} s",
            flush=True,
        )
    trial.remove(usual, every[-1])
    for line in dict.fromkeys(line for tally in every for line in (*tally.refused, *tally.lost)):
        print(f"  {line}")
    out = sorted({name.partition("/")[0] for tally in every for name in tally.left_out})
    if out:
        print(f"left out, as the server does not know them (HORDE_CRDS): {', '.join(out)}")
    told = "not tried: the server is older than the chart asks for" if old else with_helm(cluster)
    print(f"Helm: {told}")
    return 1 if any(tally.refused or tally.lost for tally in every) else 0


def main() -> int:
    """Everything; 0 also where there is no API server."""
    try:
        with api_server() as cluster:
            return run(cluster)
    except Missing as error:
        print(f"not tried: {error}")
        return 0


if __name__ == "__main__":
    sys.exit(main())
