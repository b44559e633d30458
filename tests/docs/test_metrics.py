"""docs/metrics.md lists all metrics and alerts, and Prometheus accepts the rules."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.cases import cases
from support.metrics_table import ALERTS, alerts, metrics, render_alerts, render_metrics

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text()
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "openengagement.json").read_text())
RULES_TEST = Path(__file__).with_name("alerts_test.yml")
REGENERATE = "docs/metrics.md differs from the metrics or alerts. Run: make tables"
SAMPLES = {
    each.name + suffix
    for each in metrics()
    for suffix in (("_bucket", "_sum", "_count") if each.type == "histogram" else ("",))
}


def test_the_table_of_metrics():
    assert render_metrics() in PAGE, REGENERATE


def test_the_table_of_alerts():
    assert len(alerts()) == ALERTS.read_text().count("- alert:") > 15
    assert render_alerts() in PAGE, REGENERATE


@cases("alert", alerts(), ids=lambda alert: alert[0])
def test_an_alert_names_known_metrics(alert):
    name, expression, severity, summary, runbook = alert
    assert re.fullmatch("OpenEngagement[A-Z][A-Za-z]+", name)
    assert severity in {"critical", "warning", "info"}
    assert summary.endswith(".")
    assert runbook.endswith(".")
    assert set(re.findall(r"openengagement_\w+", expression)) <= SAMPLES


def expressions():
    """Each expression of the dashboard, as Prometheus gets it."""
    found = []
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"].replace("$__rate_interval", "5m")
            found.append((panel["title"], text.replace("$instance", ".*")))
    return found


def test_the_dashboard_shows_every_metric():
    shown = {
        name
        for _, expression in expressions()
        for name in re.findall(r"openengagement_\w+", expression)
    }
    assert shown <= SAMPLES
    bases = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    assert {each.name for each in metrics()} - bases == set()


def test_the_panels_of_the_dashboard_do_not_overlap():
    places = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & places, panel["title"]
        places |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.fixture
def promtool():
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")

    def run(*arguments):
        command = [path, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


@pytest.mark.heavy
def test_prometheus_accepts_the_alerts(promtool):
    promtool("check", "rules", ALERTS)
    promtool("check", "config", ALERTS.with_name("prometheus.yml"))


@pytest.mark.heavy
def test_alerts_fire_and_stay_silent(promtool):
    promtool("test", "rules", RULES_TEST)


@pytest.mark.heavy
def test_prometheus_accepts_the_expressions_of_the_dashboard(promtool, tmp_path):
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, (_, expression) in enumerate(expressions())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))  # YAML too
    promtool("check", "rules", file)
