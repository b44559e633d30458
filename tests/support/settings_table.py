"""Print the table of all settings for docs/settings.md."""

import dataclasses

from openengagement.settings import ENV_PREFIX, Settings


def render_settings() -> str:
    """Render the table as Markdown, for `docs/settings.md`."""
    rows = [
        "| variable | default | unit or choices | limits | what it sets |",
        "|---|---|---|---|---|",
    ]
    for field in dataclasses.fields(Settings):
        meta = field.metadata
        limits = f"{meta['low']:,} to {meta['high']:,}" if "low" in meta else ""
        default = str(field.default).lower() if field.type is bool else str(field.default)
        rows.append(
            f"| `{ENV_PREFIX}{field.name.upper()}` | {default or 'none'} | {meta['unit']} "
            f"| {limits} | {meta['help']} |"
        )
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(render_settings(), end="")
