"""Render the tables of all metrics and alerts for docs/metrics.md."""

import re
from pathlib import Path

from openengagement.metrics import table
from openengagement.metrics.metric import Metric

ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yml"
_ALERT = re.compile(
    r"- alert: (\w+)\n"
    r"\s+expr: (?:>-\n((?:              .*\n)+)|(.*)\n)"
    r"(?:\s+for: (\w+)\n)?"
    r"\s+labels: \{severity: (\w+)\}\n"
    r"\s+annotations:\n"
    r"\s+summary: \"(.*)\"\n"
    r"\s+runbook: \"(.*)\"\n"
)


def metrics():
    """Every metric of the table, in its order."""
    return [each for each in vars(table).values() if isinstance(each, Metric)]


def render_metrics() -> str:
    """Render the metrics as Markdown."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in metrics():
        labels = [
            f"`{name}`" + (f" ({', '.join(values)})" if values else "")
            for name, values in metric.labels.items()
        ]
        rows.append(f"| `{metric.name}` | {metric.type} | {'; '.join(labels)} | {metric.text} |")
    return "\n".join(rows) + "\n"


def alerts():
    """Each alert of the rules: name, expression, severity, summary and runbook."""
    found = []
    for name, folded, plain, _, severity, summary, runbook in _ALERT.findall(ALERTS.read_text()):
        expression = " ".join((folded or plain).split())
        found.append((name, expression, severity, summary, runbook))
    return found


def render_alerts() -> str:
    """Render the alerts as Markdown."""
    rows = ["| alert | severity | meaning | what to do |", "|---|---|---|---|"]
    rows += [
        f"| `{name}` | {severity} | {summary} | {runbook} |"
        for name, _, severity, summary, runbook in alerts()
    ]
    return "\n".join(rows) + "\n"
