"""Write the tables of docs/ that are generated into their pages: `make tables` runs this."""

import re
from pathlib import Path

from support.licences import render_licences
from support.metrics_table import render_alerts, render_metrics
from support.settings_table import render_settings

DOCS = Path(__file__).parents[2] / "docs"
TABLES = (
    ("settings.md", render_settings),
    ("licences.md", render_licences),
    ("metrics.md", render_metrics),
    ("metrics.md", render_alerts),
)


def replace_table(page: str, table: str) -> str:
    """Replace the table of a page that has the same head."""
    head = re.escape(table.partition("\n")[0])
    replaced, count = re.subn(rf"^{head}\n(?:\|.*\n)*", lambda _: table, page, flags=re.MULTILINE)
    assert count == 1, head
    return replaced


def main() -> None:
    """Write every table."""
    for name, render in TABLES:
        page = DOCS / name
        page.write_text(replace_table(page.read_text(), render()))


if __name__ == "__main__":
    main()
