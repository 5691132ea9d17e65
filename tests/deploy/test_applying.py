"""What `make deploy-apply` makes of an older server, and that it finds what a server dropped. None is started here."""

from __future__ import annotations

import sys
from copy import deepcopy
from typing import Any

import pytest
from tests.deploy.rendering import charts
from tests.documents import ROOT

sys.path.insert(0, str(ROOT / "deploy"))
import applying

AUDITED = charts.rendered(charts.VALUES["audited"])
RELEASES = charts.rendered(charts.VALUES["a release each week, its index kept"])


def of_kind(kind: str) -> dict[str, Any]:
    return next(manifest for manifest in (*AUDITED, *RELEASES) if manifest["kind"] == kind)


def test_where_the_server_is_new_enough_nothing_is_changed() -> None:
    chart = charts.yaml.safe_load((charts.CHART / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">=1.{applying.NEWEST_NEEDED}.0-0"
    assert [applying.adapted(manifest, applying.NEWEST_NEEDED) for manifest in AUDITED] == AUDITED


@pytest.mark.parametrize(
    ("kind", "minor", "version"),
    [
        ("PodDisruptionBudget", 20, "policy/v1beta1"),
        ("PodDisruptionBudget", 21, "policy/v1"),
        ("CronJob", 20, "batch/v1beta1"),
        ("HorizontalPodAutoscaler", 22, "autoscaling/v2beta2"),
        ("HorizontalPodAutoscaler", 23, "autoscaling/v2"),
    ],
)
def test_an_older_server_knows_kinds_by_older_names(kind: str, minor: int, version: str) -> None:
    assert applying.adapted(of_kind(kind), minor)["apiVersion"] == version


def test_an_older_server_probes_the_port_where_a_newer_one_asks() -> None:
    deployment = of_kind("Deployment")
    (container,) = applying.adapted(deployment, 20)["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["tcpSocket"] == {"port": 7780}
    assert "grpc" not in container["livenessProbe"]
    assert "timeZone" not in applying.adapted(of_kind("CronJob"), 20)["spec"]
    assert "unhealthyPodEvictionPolicy" not in applying.adapted(of_kind("PodDisruptionBudget"), 20)["spec"]


def test_what_is_dropped_or_changed_is_found_and_what_is_added_is_not() -> None:
    rendered = of_kind("Deployment")
    stored = deepcopy(rendered)
    stored["spec"]["revisionHistoryLimit"] = 10
    assert list(applying.missing(rendered, stored)) == []
    (container,) = stored["spec"]["template"]["spec"]["containers"]
    del container["livenessProbe"]["grpc"]
    stored["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 30
    found = list(applying.missing(rendered, stored))
    assert [path.rpartition(".")[2].partition(" ")[0] for path in found] == ["terminationGracePeriodSeconds", "grpc"]


def test_without_an_api_server_it_says_so_and_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HORDE_KUBE_APISERVER", raising=False)
    assert applying.main() == 0
    assert "HORDE_KUBE_APISERVER" in capsys.readouterr().out
