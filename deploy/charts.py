"""Renders the chart: for the checks, and for what Kustomize builds upon.

python deploy/charts.py            # writes kustomize/base and kustomize/components from the chart
python deploy/charts.py --check    # renders all value sets, lints, validates, builds the overlays
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from helm_python import Chart
from helm_python.chart import lint
from kubernetes_validate import SchemaNotFoundError, ValidationError, latest_version, validate

HERE: Final = Path(__file__).parent
CHART: Final = HERE / "helm" / "horde-mesh"
KUSTOMIZE: Final = HERE / "kustomize"
NAMESPACE: Final = "horde"
RELEASE: Final = "horde"
HEAD: Final = "# Rendered from deploy/helm/horde-mesh by deploy/charts.py.\n"
FOREIGN: Final = (
    "cert-manager.io/",
    "monitoring.coreos.com/",
    "gateway.networking.k8s.io/",
    "external-secrets.io/",
    "keda.sh/",
)
"""Kinds whose schemas Kubernetes does not have."""

NEEDED: Final[Mapping[str, Any]] = {
    "doors": {"storage": "storage.mesh.example:443"},
    "services": {
        "storage-router": {"s3": {"endpoint": "s3.mesh.example:9000"}},
        "curation": {"s3": {"endpoint": "s3.mesh.example:9000"}},
    },
}
"""What has no default."""


def only(*wanted: str) -> dict[str, Any]:
    """Values with which these services alone are deployed."""
    every = yaml.safe_load((CHART / "values.yaml").read_text())["services"]
    return {"services": {name: {"enabled": name in wanted} for name in every}}


VALUES: Final[Mapping[str, Mapping[str, Any]]] = {
    "default": {},
    "doors with TLS of their own": {"doors": {"mode": "tls"}, "tls": {"source": "secrets"}},
    "an issuer of yours": {"tls": {"issuerRef": {"name": "corporate", "kind": "ClusterIssuer"}}},
    "behind a Gateway, watched": {
        "gatewayApi": {
            "enabled": True,
            "parentRef": {"name": "public", "namespace": "edge", "sectionName": "grpc"},
            "hostnames": {
                "gateway": "mesh.example",
                "storage-router": "storage.mesh.example",
                "web-door": "www.mesh.example",
            },
        },
        "monitoring": {"serviceMonitor": True, "rules": True, "telemetryEndpoint": "http://collector.monitoring:4317"},
    },
    "secrets from outside, Redis, a registry": {
        "externalSecrets": {"enabled": True, "store": {"name": "vault"}, "secrets": {"horde-keys": "mesh/keys"}},
        "services": {"gateway": {"redis": {"url": "rediss://redis.mesh.example:6379/0", "secretName": "horde-redis"}}},
        "image": {"registry": "registry.mesh.example/", "tag": "1.2.3"},
        "imagePullSecrets": [{"name": "registry"}],
    },
    "a release each week, its index kept": {
        "dataReleases": {
            "enabled": True,
            "schedule": "0 3 * * 1",
            "release": "%Y-w%V",
            "arguments": ["--cool-off=14", "--with-unsure"],
            "s3": {"endpoint": "s3.mesh.example:9000"},
            "volumeClaim": "horde-release-index",
            "settings": {"LOG_LEVEL": "debug"},
        },
    },
    "scaled by KEDA": {"keda": {"enabled": True, "prometheus": "http://prometheus.monitoring:9090"}},
    "audited": {
        "auditor": {"enabled": True, "s3": {"endpoint": "s3.mesh.example:9000"}, "settings": {"SAMPLE_PER_MILLE": 20}},
        "monitoring": {"serviceMonitor": True},
    },
    "workers when they are needed": {
        "burstWorkers": {
            "enabled": True,
            "model": "sdxl",
            "owner": "00000000-0000-4000-8000-00000000b000",
            "resources": {"limits": {"nvidia.com/gpu": 1}},
            "settings": {"MODELS": "sdxl=/models/sdxl"},
        },
    },
    "web doors alone": only("web-door"),
    "a ledger alone": only("ledger"),
    "gateways alone": only("gateway"),
    "routers alone, no policies, other settings": {
        **only("storage-router"),
        "networkPolicies": {"enabled": False},
        "settings": {"LOG_LEVEL": "debug", "GRACE_SECONDS": 10},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "mesh", "operator": "Exists"}],
    },
}

APART: Final[Mapping[str, Mapping[str, Any]]] = {
    "auditor": {"auditor": {"enabled": True, "s3": {"endpoint": "s3.mesh.example:9000"}}},
    "data-releases": {"dataReleases": {"enabled": True, "s3": {"endpoint": "s3.mesh.example:9000"}}},
    "burst-workers": {"burstWorkers": {"enabled": True, "owner": "00000000-0000-4000-8000-00000000b000"}},
}
"""What not every mesh has: a component of Kustomize each, with all that belongs to it."""


def merged(*several: Mapping[str, Any]) -> dict[str, Any]:
    """Values of several origins, later ones first."""
    result: dict[str, Any] = {}
    for values in several:
        for key, value in values.items():
            old = result.get(key)
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def rendered(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects that these values make."""
    files = Chart.load(CHART).render(merged(NEEDED, values), name=RELEASE, namespace=NAMESPACE)
    texts = [text for path, text in sorted(files.items()) if not path.endswith(".txt")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def component_of(manifest: Mapping[str, Any]) -> str:
    """Where Kustomize has an object: with its service, or in a component of its own."""
    kind, version = manifest["kind"], manifest["apiVersion"]
    if kind == "NetworkPolicy":
        return "components/network-policies"
    if version.startswith("cert-manager.io/"):
        return "components/certificates"
    if version.startswith("monitoring.coreos.com/"):
        return "components/monitoring"
    if version.startswith("gateway.networking.k8s.io/"):
        return "components/routes"
    if kind == "HorizontalPodAutoscaler":
        return "components/autoscaling"
    return f"base/{manifest['metadata']['labels']['app.kubernetes.io/component']}"


def kustomization() -> Iterator[tuple[Path, str]]:
    """The files below `kustomize` that follow from the chart."""
    folders: dict[str, list[dict[str, Any]]] = {}
    whole_mesh = rendered(VALUES["behind a Gateway, watched"])
    for manifest in whole_mesh:
        folders.setdefault(component_of(manifest), []).append(manifest)
    for name, values in APART.items():
        theirs = rendered(merged(VALUES["behind a Gateway, watched"], values))
        folders[f"components/{name}"] = [manifest for manifest in theirs if manifest not in whole_mesh]
    for folder, manifests in folders.items():
        is_base = folder.startswith("base/")
        kind = {"kind": "Kustomization"} if is_base else {"kind": "Component"}
        version = "kustomize.config.k8s.io/v1beta1" if is_base else "kustomize.config.k8s.io/v1alpha1"
        head = {"apiVersion": version, **kind, "resources": ["manifests.yaml"]}
        yield KUSTOMIZE / folder / "kustomization.yaml", HEAD + yaml.safe_dump(head, sort_keys=False)
        yield KUSTOMIZE / folder / "manifests.yaml", HEAD + yaml.safe_dump_all(manifests, sort_keys=False, width=120)
    bases = sorted(folder.removeprefix("base/") for folder in folders if folder.startswith("base/"))
    whole = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": NAMESPACE}
    yield (
        KUSTOMIZE / "base" / "kustomization.yaml",
        HEAD + yaml.safe_dump({**whole, "resources": bases}, sort_keys=False),
    )


def built(overlay: Path) -> list[dict[str, Any]]:
    """What Kustomize makes of an overlay."""
    program = Path(sys.executable).with_name("kubectl")
    made = subprocess.run([program, "kustomize", overlay], check=True, capture_output=True, text=True)
    return [document for document in yaml.safe_load_all(made.stdout) if document]


def problems(manifests: list[dict[str, Any]]) -> Iterator[str]:
    """What the schemas of the newest Kubernetes at hand, read strictly, have against these objects."""
    for manifest in manifests:
        where = f"{manifest['kind']} {manifest['metadata']['name']}"
        if manifest["apiVersion"].startswith(FOREIGN):
            continue
        try:
            validate(manifest, latest_version(), strict=True)
        except ValidationError as error:
            yield f"{where}: {error.message}"
        except SchemaNotFoundError:
            yield f"{where}: there is no such kind"


def overlays() -> list[Path]:
    """Every overlay there is."""
    return sorted(path.parent for path in (KUSTOMIZE / "overlays").glob("*/kustomization.yaml"))


def check() -> int:
    """Everything; the exit status."""
    found = []
    report = lint(CHART, merged(NEEDED), strict=True)
    found += [f"lint: {message['error']}" for message in report["messages"] if message["severity"] >= 2]
    count = 0
    for name, values in VALUES.items():
        manifests = rendered(values)
        count += len(manifests)
        found += [f"{name}: {problem}" for problem in problems(manifests)]
    for overlay in overlays():
        manifests = built(overlay)
        count += len(manifests)
        found += [f"{overlay.name}: {problem}" for problem in problems(manifests)]
    found += [f"{path} is stale" for path, text in kustomization() if not path.exists() or path.read_text() != text]
    sys.stdout.write("\n".join([*found, ""]) if found else "")
    sys.stdout.write(
        f"{len(VALUES)} value sets, {len(overlays())} overlays, {count} objects against Kubernetes {latest_version()}: "
        f"{len(found)} problems\n"
    )
    return 1 if found else 0


def main() -> int:
    """Write, or check."""
    if "--check" in sys.argv[1:]:
        return check()
    for path, text in kustomization():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
