"""Alerts and dashboards ask for metrics that the code exports; each alert has its case and a part of the runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
import yaml
from tests.deploy.rendering import charts
from tests.documents import ROOT

from horde.scheduler.gauges import GAUGES

WATCHING = ROOT / "deploy" / "watching"
ALERTS = ROOT / "deploy" / "helm" / "horde-mesh" / "alerts.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
DASHBOARDS = sorted(WATCHING.glob("*.json"))
FUNCTIONS = {
    *(
        "sum",
        "max",
        "by",
        "rate",
        "increase",
        "abs",
        "absent",
        "topk",
        "histogram_quantile",
        "and",
        "or",
        "vector",
        "le",
    ),
}
PROMETHEUS_OWN = {"up", "process_resident_memory_bytes"}
ADDED = re.compile(r"(_seconds)?(_bucket|_count|_sum|_total)?$")
"""What the exporter adds: the unit, and what a histogram and a counter have."""


def exported() -> set[str]:
    """The names of all instruments in the code, as Prometheus sees them but for what is added at the end."""
    names = {f"horde.scheduler.{name}" for name, *_ in GAUGES}
    for path in ROOT.glob("*/src/horde/**/*.py"):
        text = path.read_text("utf-8")
        if ".create_" in text:
            names |= set(re.findall(r'\.create_\w+\(\s*"((?:horde|rpc)\.[a-z_.]+)"', text))
    return {name.replace(".", "_") for name in names}


def asked(expression: str) -> set[str]:
    """The metrics in a query."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:by|without)\s*\([^)]*\)|\"[^\"]*\"", "", expression)
    return {word for word in re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", bare) if word not in FUNCTIONS}


def scaling() -> Iterator[object]:
    """What KEDA asks Prometheus for."""
    for manifest in charts.rendered(charts.VALUES["scaled by KEDA"]):
        if manifest["kind"] == "ScaledObject":
            for trigger in manifest["spec"]["triggers"]:
                if trigger["type"] == "prometheus":
                    yield pytest.param(trigger["metadata"]["query"], id=f"scaling of {manifest['metadata']['name']}")


def queries() -> Iterator[object]:
    yield from scaling()
    for rule in RULES:
        yield pytest.param(rule["expr"], id=rule["alert"])
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield pytest.param(target["expr"], id=f"{path.stem}: {panel['title']} {target['refId']}")


@pytest.mark.parametrize("expression", list(queries()))
def test_every_metric_of_a_query_is_exported(expression: str) -> None:
    known = exported()
    names = asked(expression) - PROMETHEUS_OWN
    for name in names:
        assert known & {name, ADDED.sub("", name), name.removesuffix("_total")}, name
    assert names or asked(expression)


def test_there_are_dashboards_and_their_panels_have_places_of_their_own() -> None:
    assert len(DASHBOARDS) == 2
    for path in DASHBOARDS:
        panels = json.loads(path.read_text())["panels"]
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
        assert len(set(places)) == len(places) >= 6


def test_each_alert_has_a_section_of_the_runbook_and_a_case_and_nothing_else_has() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    sections = re.findall(r"^## (\w+)$", (WATCHING / "runbook.md").read_text(), re.MULTILINE)
    assert sections == names
    tests = yaml.safe_load((WATCHING / "alerts_test.yaml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == set(names)
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"deploy/watching/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_each_alert_has_a_fault_in_which_it_is_seen_to_fire() -> None:
    rehearsed = re.findall(r'^@fault\("(\w+)"', (ROOT / "bench" / "alert_faults.py").read_text(), re.MULTILINE)
    assert sorted(rehearsed) == sorted(rule["alert"] for rule in RULES)


def test_a_section_says_when_it_fires_where_to_look_and_what_to_do() -> None:
    _, *sections = re.split(r"^## ", (WATCHING / "runbook.md").read_text(), flags=re.MULTILINE)
    for rule, section in zip(RULES, sections, strict=True):
        _, when, *words = section.strip().split("\n\n")
        assert when.startswith(f"*{rule['labels']['severity']}*, after {rule['for']}. "), rule["alert"]
        assert [word.partition(":")[0] for word in words] == ["Look", "Do"], rule["alert"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is in Debian's package prometheus")
def test_each_alert_fires_in_its_fault() -> None:
    for words in (["check", "rules", str(ALERTS)], ["test", "rules", str(WATCHING / "alerts_test.yaml")]):
        ran = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
