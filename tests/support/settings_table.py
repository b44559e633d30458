"""Render the table of all settings for docs/settings.md."""

import dataclasses

from openengagement.intake_settings import IntakeSettings
from openengagement.settings import ENV_PREFIX, Settings


def render_settings() -> str:
    """Render the table as Markdown, for `docs/settings.md`."""
    rows = [
        "| variable | default | unit or choices | limits | what it sets |",
        "|---|---|---|---|---|",
    ]
    fields = dataclasses.fields(Settings)
    # Inherited fields come first in the class, and last in the table.
    inherited = {field.name for field in dataclasses.fields(IntakeSettings)}
    for field in sorted(fields, key=lambda field: field.name in inherited):
        meta = field.metadata
        limits = f"{meta['low']:,} to {meta['high']:,}" if "low" in meta else ""
        default = str(field.default).lower() if field.type is bool else str(field.default)
        rows.append(
            f"| `{ENV_PREFIX}{field.name.upper()}` | {default or 'none'} | {meta['unit']} "
            f"| {limits} | {meta['help']} |"
        )
    return "\n".join(rows) + "\n"
