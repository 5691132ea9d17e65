"""The chart and what Kustomize makes of it name only what the code has: variables, ports, probes, callers, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.rendering import charts
from tests.documents import ROOT

from horde.auditor.commands import main as auditing
from horde.auditor.settings import AuditorSettings
from horde.cli.commands.keys import OPERATOR, PASSES, PEPPER, SIGNERS, WEBHOOK_SECRETS
from horde.cli.local.roles import DEFAULT_PORTS, Role
from horde.curation.service import ALLOW as CURATION
from horde.data_releases.commands import main
from horde.data_releases.settings import DataReleaseSettings
from horde.gateway.doors.listeners import ALLOW as GATEWAY
from horde.ledger.core.permissions import METHODS as LEDGER
from horde.scheduler.doors import scaling
from horde.scheduler.doors.servicer import ALLOW as SCHEDULER
from horde.services import probes
from horde.services.identity import PUBLIC, AllowList
from horde.services.settings_of import settings_of
from horde.storage_router.router import ALLOW as STORAGE_ROUTER
from horde.webhooks.service import ALLOW as WEBHOOKS
from horde.worker_agent.settings import WorkerSettings

NOT_SERVICES = {"*", "operator", "auditor", "keda"}
"""Callers that are people, jobs that an operator runs where he likes, or the cluster's own."""
ALLOW: Mapping[str, AllowList] = {
    "ledger": AllowList(LEDGER),
    "scheduler": SCHEDULER,
    "storage-router": STORAGE_ROUTER,
    "gateway": GATEWAY,
    "curation": CURATION,
    "webhooks": WEBHOOKS,
    # HTTP is for everybody.
    "web-door": AllowList({"/http/*": PUBLIC}),
}


SERVICES: Mapping[str, Any] = yaml.safe_load((charts.CHART / "values.yaml").read_text())["services"]
SETS = {name: charts.rendered(values) for name, values in charts.VALUES.items()}
SETS |= {f"overlay {path.name}": charts.built(path) for path in charts.overlays()}


def of_kind(kind: str) -> list[Any]:
    return [
        pytest.param(manifest, id=f"{name}: {manifest['metadata']['name']}")
        for name, manifests in SETS.items()
        for manifest in manifests
        if manifest["kind"] == kind
        and manifest["metadata"].get("labels", {}).get("app.kubernetes.io/component") in SERVICES
    ]


def service_of(manifest: Mapping[str, Any]) -> str:
    return str(manifest["metadata"]["labels"]["app.kubernetes.io/component"])


def environment(manifest: Mapping[str, Any]) -> dict[str, str | None]:
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    names = [each["name"] for each in container["env"]]
    assert len(names) == len(set(names))
    return {each["name"]: each.get("value") for each in container["env"]}


def test_every_service_is_deployed_and_nothing_else() -> None:
    assert set(SERVICES) == {role.value for role in Role if role is not Role.WORKER} == set(ALLOW)
    for name, told in SERVICES.items():
        assert told["module"] == Role(name).module
        assert DEFAULT_PORTS[Role(name)] in (told.get("port"), told.get("doorPort"))


@pytest.mark.parametrize("manifest", of_kind("Deployment"))
def test_every_variable_is_a_setting_and_every_value_one_that_it_takes(manifest: Mapping[str, Any]) -> None:
    role = Role(service_of(manifest))
    settings = settings_of(role.module)
    told = {}
    for name, value in environment(manifest).items():
        assert name.startswith(role.prefix)
        field = name.removeprefix(role.prefix).lower()
        assert field in settings.model_fields, name
        told[field] = f"secret-{field}" if value is None else value
    settings(**told)  # type: ignore[arg-type]


@pytest.mark.parametrize("manifest", of_kind("Deployment"))
def test_ports_and_probes_are_where_the_process_listens(manifest: Mapping[str, Any]) -> None:
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    listening = {
        int(value.rpartition(":")[2])
        for name, value in environment(manifest).items()
        if name.endswith("LISTEN") and value is not None
    }
    assert {port["containerPort"] for port in container["ports"]} == listening
    prefix = Role(service_of(manifest)).prefix
    health = environment(manifest)[f"{prefix}HEALTH_LISTEN"]
    assert health is not None
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["grpc"]
        assert asked["port"] == int(health.rpartition(":")[2])
        ready = probes.FIT if SERVICES[service_of(manifest)].get("leads") else ""
        assert asked.get("service", "") == (ready if probe == "readinessProbe" else probes.LIVE)
    # With a standby that counts, one more is there before one goes.
    assert manifest["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize("manifest", of_kind("Deployment"))
def test_a_pod_may_do_nothing_that_it_need_not(manifest: Mapping[str, Any]) -> None:
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    for name, value in environment(manifest).items():
        if name.endswith(("_FILE", "_CERTIFICATE", "_KEY", "_DIR")) and value is not None and value.startswith("/"):
            assert any(Path(value).is_relative_to(folder) for folder in mounted), name
    settings = settings_of(Role(service_of(manifest)).module)
    grace = float(environment(manifest).get(f"{Role(service_of(manifest)).prefix}GRACE_SECONDS") or 5)
    assert pod["terminationGracePeriodSeconds"] > 2 * grace + 10 + 5, settings


@pytest.mark.parametrize("manifest", of_kind("Deployment"))
def test_the_files_of_keys_are_those_that_keys_init_makes(manifest: Mapping[str, Any]) -> None:
    made = {f"{service}-{what}.pem" for service, what in SIGNERS.items()} | {PEPPER, PASSES, OPERATOR, WEBHOOK_SECRETS}
    service = service_of(manifest)
    keys = [volume for volume in manifest["spec"]["template"]["spec"]["volumes"] if volume["name"] == "keys"]
    assert bool(keys) == (service in {*SIGNERS, "webhooks"})
    for volume in keys:
        names = {item["key"] for item in volume["secret"]["items"]}
        # All of its own, or replicas would each make one for themselves; and nobody else's.
        assert names == {name for name in made if name.startswith(f"{service}-")}


@pytest.mark.parametrize("service", SERVICES)
def test_callers_are_those_of_the_services_own_allow_list(service: str) -> None:
    allow = ALLOW[service]
    callers = {caller for method in allow.methods() for caller in allow.allowed(method)} - NOT_SERVICES
    assert set(SERVICES[service]["callers"]) == callers
    doors = any("*" in allow.allowed(method) for method in allow.methods())
    assert doors == ("doorPort" in SERVICES[service])


@pytest.mark.parametrize("service", SERVICES)
def test_calls_are_those_of_the_services_own_settings(service: str) -> None:
    fields = settings_of(Role(service).module).model_fields
    calls = {role.value: name.upper() for role in Role for name in fields if name == role.value.replace("-", "_")}
    assert SERVICES[service]["calls"] == calls
    for callee in calls:
        # What is called at its door lets everybody in.
        assert "port" not in SERVICES[callee] or service in SERVICES[callee]["callers"]


def test_a_policy_lets_in_each_caller_and_nobody_else() -> None:
    policies = {
        service_of(manifest): manifest
        for manifest in SETS["default"]
        if manifest["kind"] == "NetworkPolicy" and "labels" in manifest["metadata"]
    }
    assert set(policies) == set(SERVICES)
    for service, policy in policies.items():
        let_in = {
            peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
            for rule in policy["spec"]["ingress"]
            for peer in rule.get("from", ())
            if "podSelector" in peer
        }
        assert let_in == set(SERVICES[service]["callers"])
        open_to_all = [
            port["port"] for rule in policy["spec"]["ingress"] if "from" not in rule for port in rule["ports"]
        ]
        assert open_to_all == ([SERVICES[service]["doorPort"]] if "doorPort" in SERVICES[service] else [])
    (deny,) = [
        m for m in SETS["default"] if m["kind"] == "NetworkPolicy" and m["metadata"]["name"].endswith("deny-all")
    ]
    assert "ingress" not in deny["spec"]
    assert "egress" not in deny["spec"]


def test_certificates_name_what_the_allow_lists_and_the_dialled_addresses_say() -> None:
    named = {m["metadata"]["name"]: m["spec"] for m in SETS["default"] if m["kind"] == "Certificate"}
    for service in (name for name, told in SERVICES.items() if not told.get("stranger")):
        assert f"{service}.mesh.internal" in named[f"horde-{service}"]["dnsNames"]
        assert f"horde-{service}.horde.svc" in named[f"horde-{service}"]["dnsNames"]


def test_what_kustomize_builds_upon_is_what_the_chart_says() -> None:
    for path, text in charts.kustomization():
        assert path.read_text() == text, path


def test_a_release_is_a_job_whose_variables_are_settings_and_whose_arguments_are_the_builders() -> None:
    manifests = SETS["a release each week, its index kept"]
    (cron,) = [manifest for manifest in manifests if manifest["kind"] == "CronJob"]
    assert (cron["spec"]["concurrencyPolicy"], cron["spec"]["schedule"]) == ("Forbid", "0 3 * * 1")
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    prefix = "HORDE_DATA_RELEASES_"
    told = {each["name"].removeprefix(prefix).lower(): each.get("value", "secret") for each in container["env"]}
    assert len(told) == len(container["env"])
    assert all(each["name"].startswith(prefix) for each in container["env"])
    assert set(told) <= set(DataReleaseSettings.model_fields)
    DataReleaseSettings(**told)
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    for name, value in told.items():
        if name.endswith(("_file", "_dir")):
            assert any(Path(value).is_relative_to(folder) for folder in mounted), name
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    command, *arguments = container["args"]
    context = main.commands[command].make_context(command, arguments)
    assert (context.params["release_id"], context.params["cool_off"]) == ("%Y-w%V", 14.0)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert [m for m in SETS["default"] if m["kind"] == "CronJob"] == []
    (policy,) = [
        m for m in manifests if m["metadata"]["name"] == "horde-data-releases" and m["kind"] == "NetworkPolicy"
    ]
    # Nobody calls it; it reaches names and the store alone.
    assert "ingress" not in policy["spec"]
    assert [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]] == [53, 53, 443, 9000]


def test_the_auditor_is_told_settings_and_let_in_by_the_scheduler_and_read_by_prometheus() -> None:
    manifests = {(m["kind"], m["metadata"]["name"]): m for m in SETS["audited"]}
    template = manifests["Deployment", "horde-auditor"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    prefix = "HORDE_AUDITOR_"
    told = {each["name"].removeprefix(prefix).lower(): each.get("value", "secret") for each in container["env"]}
    assert len(told) == len(container["env"])
    assert set(told) <= set(AuditorSettings.model_fields)
    settings = AuditorSettings(**told)
    assert settings.scheduler == "horde-scheduler.horde.svc:7702"
    auditing.make_context("audit", container["args"])
    assert {mount["name"] for mount in container["volumeMounts"]} == {v["name"] for v in template["spec"]["volumes"]}
    # What Prometheus finds by the ServiceMonitor's labels, and the alert by the component's.
    service = manifests["Service", "horde-auditor"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert [port["name"] for port in service["spec"]["ports"]] == ["metrics"]
    wanted = manifests["ServiceMonitor", "horde"]["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    (caller,) = SCHEDULER.allowed("/horde.internal.scheduler.v1.SchedulerService/ListSettledImages")
    assert manifests["Certificate", "horde-auditor"]["spec"]["dnsNames"] == [f"{caller}.mesh.internal"]
    let_in = manifests["NetworkPolicy", "horde-auditor-asks"]["spec"]
    assert let_in["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "scheduler"


def test_workers_that_are_needed_are_told_settings_and_keda_what_the_scheduler_reads() -> None:
    manifests = {(m["kind"], m["metadata"]["name"]): m for m in SETS["workers when they are needed"]}
    pod = manifests["Deployment", "horde-worker"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    told = {each["name"].removeprefix(Role.WORKER.prefix).lower(): each["value"] for each in container["env"]}
    assert len(told) == len(container["env"])
    assert set(told) <= set(WorkerSettings.model_fields)
    settings = WorkerSettings(**told)
    assert settings.gateway == "horde-gateway.horde.svc:7700"
    assert pod["terminationGracePeriodSeconds"] >= settings.stop_seconds
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    scaled = manifests["ScaledObject", "horde-worker"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == "horde-worker"
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"].pop("scalerAddress") == "horde-scheduler.horde.svc:7702"
    assert set(trigger["metadata"]) == set(scaling.METADATA)
    wish = scaling.Wish.read(trigger["metadata"])
    assert (wish.model, wish.target_seconds) == ("sdxl", 300.0)
    files = manifests["TriggerAuthentication", trigger["authenticationRef"]["name"]]["spec"]["secretTargetRef"]
    assert [file["parameter"] for file in files] == ["caCert", "tlsClientCert", "tlsClientKey"]
    (caller,) = SCHEDULER.allowed(f"/{scaling.SERVICE}/GetMetrics")
    assert manifests["Certificate", "horde-keda"]["spec"]["dnsNames"] == [f"{caller}.mesh.internal"]
    assert {file["name"] for file in files} == {manifests["Certificate", "horde-keda"]["spec"]["secretName"]}
    let_in = manifests["NetworkPolicy", "horde-keda"]["spec"]
    assert let_in["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "scheduler"
    assert not any(kind == "ScaledObject" for kind in (m["kind"] for m in SETS["default"]))


def test_every_policy_of_buckets_is_a_credential_that_the_page_explains() -> None:
    page = (ROOT / "deploy/README.md").read_text()
    for path in (ROOT / "deploy/policies").glob("*.json"):
        assert f"\n| `{path.stem}` | " in page


def test_every_policy_of_buckets_is_in_the_config_map() -> None:
    told = yaml.safe_load((ROOT / "deploy/policies/kustomization.yaml").read_text())
    assert set(told["configMapGenerator"][0]["files"]) == {
        path.name for path in (ROOT / "deploy/policies").glob("*.json")
    }


@pytest.mark.parametrize("name", SETS)
def test_every_object_fits_the_schemas_of_kubernetes(name: str) -> None:
    assert list(charts.problems(SETS[name])) == []


def test_a_field_that_does_not_exist_is_found() -> None:
    (wrong,) = [m for m in charts.rendered(charts.only("ledger")) if m["kind"] == "Deployment"]
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    assert list(charts.problems([wrong]))


@pytest.mark.parametrize(
    "values",
    [
        {"dataReleases": {"release": "A b"}},
        {"doors": {"mode": "none"}},
        {"service": {}},
        {"services": {"ledger": {"replicas": 0}}},
        {"nameSuffix": "mesh"},
    ],
    ids=str,
)
def test_values_that_cannot_be_are_refused(values: Mapping[str, Any]) -> None:
    with pytest.raises(Exception, match=r"schema|validation|values"):
        charts.rendered(values)
