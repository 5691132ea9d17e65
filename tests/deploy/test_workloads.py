"""Whatever the chart can run is probed, fenced in, measured, imaged, documented, and deployed by Kustomize as well."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from tests.deploy.rendering import charts
from tests.documents import ROOT

from horde.services.settings_of import settings_of

MODULES = {"data-releases": "horde.data_releases", "auditor": "horde.auditor", "worker": "horde.worker_agent"}
"""What runs beside services."""
RUN = ("Deployment", "CronJob", "Job", "StatefulSet", "DaemonSet")
UNBUDGETED = {
    "auditor": "one, which nobody calls",
    "worker": "jobs that it cannot finish are given back, and KEDA ends more of them than drained nodes do",
}
"""Deployments that a drained node may take as it likes, and why."""
UNREAD = {"worker": "what it does, the scheduler's metrics say, as of every worker"}
"""Deployments whose metrics Prometheus does not read, and why."""


@dataclass(frozen=True)
class Workload:
    """A Deployment or CronJob, and all that was rendered with it."""

    manifest: Mapping[str, Any]
    beside: list[dict[str, Any]]

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"]).removeprefix(f"{charts.RELEASE}-")

    @property
    def template(self) -> Mapping[str, Any]:
        spec = self.manifest["spec"]
        found: Mapping[str, Any] = (spec["jobTemplate"]["spec"] if self.manifest["kind"] == "CronJob" else spec)[
            "template"
        ]
        return found

    @property
    def container(self) -> Mapping[str, Any]:
        (found,) = self.template["spec"]["containers"]
        return dict(found)

    def selected_by(self, kind: str, *path: str) -> list[dict[str, Any]]:
        """Objects of a kind whose selector, at this path of their spec, takes this workload's pods."""
        found = []
        for other in self.beside:
            if other["kind"] == kind:
                selector = other["spec"]
                for step in path:
                    selector = selector[step]
                labels = selector.get("matchLabels", selector)
                if labels.items() <= self.template["metadata"]["labels"].items():
                    found.append(other)
        return found


def workloads() -> Iterator[Any]:
    met = set()
    for values in (charts.VALUES["behind a Gateway, watched"], *charts.APART.values()):
        manifests = charts.rendered(charts.merged(charts.VALUES["behind a Gateway, watched"], values))
        for manifest in manifests:
            workload = Workload(manifest, manifests)
            if manifest["kind"] in RUN and workload.name not in met:
                met.add(workload.name)
                yield pytest.param(workload, id=workload.name)


WORKLOADS = list(workloads())
of_all = pytest.mark.parametrize("workload", WORKLOADS)
of_deployments = pytest.mark.parametrize(
    "workload", [param for param in WORKLOADS if param.values[0].manifest["kind"] == "Deployment"]
)


def test_every_image_but_what_people_type_has_a_workload() -> None:
    targets = set(re.findall(r"^FROM base AS (\S+)$", (ROOT / "deploy/Dockerfile").read_text(), re.M))
    assert {param.id for param in WORKLOADS} == targets - {"client", "operator"}


@of_all
def test_the_image_is_one_that_is_built(workload: Workload) -> None:
    targets = re.findall(r"^FROM base AS (\S+)$", (ROOT / "deploy/Dockerfile").read_text(), re.M)
    assert workload.container["image"].partition(":")[0] in {f"horde-{target}" for target in targets}


@of_deployments
def test_a_deployment_has_three_probes_where_its_process_answers_them(workload: Workload) -> None:
    ports = {port["name"]: port["containerPort"] for port in workload.container["ports"]}
    told = {variable["name"]: variable.get("value") for variable in workload.container["env"]}
    (listen,) = [value for name, value in told.items() if name.endswith("_HEALTH_LISTEN")]
    assert listen == f"0.0.0.0:{ports['health']}"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert workload.container[probe]["grpc"]["port"] == ports["health"]
    # What is not alive is restarted; what does not take calls is not.
    assert workload.container["livenessProbe"]["grpc"]["service"] == "live"


@of_all
def test_a_job_has_no_probes_and_is_begun_again_where_it_broke_off(workload: Workload) -> None:
    if workload.manifest["kind"] == "CronJob":
        assert not any(name.endswith("Probe") for name in workload.container)
        assert workload.manifest["spec"]["jobTemplate"]["spec"]["backoffLimit"] > 0


@of_all
def test_it_asks_for_what_it_needs_and_is_bounded(workload: Workload) -> None:
    resources = workload.container["resources"]
    assert resources["limits"]["memory"]
    assert set(resources["requests"]) == {"cpu", "memory"}


@of_all
def test_one_policy_of_its_own_says_who_may_call_it_and_whom_it_may(workload: Workload) -> None:
    own = [
        policy
        for policy in workload.selected_by("NetworkPolicy", "podSelector")
        if policy["metadata"]["name"] == workload.manifest["metadata"]["name"]
    ]
    (policy,) = own
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["egress"]


@of_deployments
def test_prometheus_finds_its_metrics(workload: Workload) -> None:
    services = [
        service
        for service in workload.selected_by("Service", "selector")
        if any(port["name"] == "metrics" for port in service["spec"]["ports"])
    ]
    monitors = [monitor for monitor in workload.beside if monitor["kind"] == "ServiceMonitor"]
    read = [
        service
        for service in services
        for monitor in monitors
        if monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ]
    assert len(read) == (0 if workload.name in UNREAD else 1)
    if read:
        told = {variable["name"]: variable.get("value") for variable in workload.container["env"]}
        ports = {port["name"]: port["containerPort"] for port in workload.container["ports"]}
        (listen,) = [value for name, value in told.items() if name.endswith("_METRICS_LISTEN")]
        assert listen == f"0.0.0.0:{ports['metrics']}"


@of_deployments
def test_a_drained_node_takes_one_at_a_time(workload: Workload) -> None:
    budgets = workload.selected_by("PodDisruptionBudget", "selector")
    assert len(budgets) == (0 if workload.name in UNBUDGETED else 1)


@of_all
def test_kustomize_has_it(workload: Workload) -> None:
    made = {path for path, text in charts.kustomization() if f"image: {workload.container['image']}" in text}
    assert len(made) == 1


@of_all
def test_the_settings_page_has_its_settings(workload: Workload) -> None:
    page = (ROOT / "deploy/settings.md").read_text()
    assert f"\n## {workload.name}\n" in page
    values = charts.yaml.safe_load((charts.CHART / "values.yaml").read_text())["services"]
    module = MODULES.get(workload.name) or values[workload.name]["module"]
    prefix = str(settings_of(module).model_config["env_prefix"])
    for variable in workload.container["env"]:
        assert variable["name"].startswith(prefix)
        name = variable["name"].removeprefix(prefix)
        assert f"`{prefix}{name}`" in page or f"`…{name}`" in page


@of_all
def test_the_documents_say_which_secrets_it_waits_for(workload: Workload) -> None:
    readme = (ROOT / "deploy/README.md").read_text()
    secrets = {
        volume["secret"]["secretName"] for volume in workload.template["spec"]["volumes"] if "secret" in volume
    } | {
        variable["valueFrom"]["secretKeyRef"]["name"]
        for variable in workload.container["env"]
        if "secretKeyRef" in variable.get("valueFrom", {})
    }
    made = {other["spec"]["secretName"] for other in workload.beside if other["kind"] == "Certificate"}
    for secret in secrets - made:
        assert f"`{secret}`" in readme


def test_components_of_what_not_every_mesh_has_can_be_built_upon(tmp_path: Any) -> None:
    for name in charts.APART:
        component = (charts.KUSTOMIZE / "components" / name).resolve()
        overlay = tmp_path / name
        overlay.mkdir()
        base = charts.KUSTOMIZE.resolve() / "base"
        whole = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(base, overlay)],
            "components": [os.path.relpath(component, overlay)],
        }
        (overlay / "kustomization.yaml").write_text(charts.yaml.safe_dump(whole))
        assert list(charts.problems(charts.built(overlay))) == []
