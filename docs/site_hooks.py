"""Hooks of MkDocs: the site also shows pages of the repository outside docs/.

Such a page is at repository/ and its path. Links are rewritten to lead there. A link to a file that
the site does not show, such as source code, keeps its text only.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = "repository/"
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_config(config: MkDocsConfig) -> None:
    """Replace a folder of the navigation by its pages, README first."""
    config.nav = [_expand(entry, Path(config.docs_dir)) for entry in config.nav or []]


def _expand(entry: Any, docs: Path) -> Any:  # noqa: ANN401 - parsed YAML
    if isinstance(entry, dict):
        for title, value in entry.items():
            if isinstance(value, str) and value.endswith("/"):
                names = {path.name for path in (docs / value).glob("*.md")} - {"README.md"}
                return {title: [value + name for name in ["README.md", *sorted(names)]]}
    return entry


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages outside docs/ that the navigation names."""
    for uri in _uris(config.nav):
        if uri.startswith(OUTSIDE):
            path = ROOT / uri.removeprefix(OUTSIDE)
            files.append(File.generated(config, uri, abs_src_path=str(path)))


def _uris(entry: Any) -> list[str]:  # noqa: ANN401 - parsed YAML
    if isinstance(entry, str):
        return [entry]
    values = entry.values() if isinstance(entry, dict) else entry
    return [uri for value in values for uri in _uris(value)]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page."""
    del config
    uri = page.file.src_uri
    source = uri.removeprefix(OUTSIDE) if uri.startswith(OUTSIDE) else f"docs/{uri}"
    known = set(files.src_uris)

    def rewrite(match: re.Match[str]) -> str:
        text, link = match.groups()
        target, _, anchor = link.partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        found = _find(os.path.normpath(Path(source).parent / target), known)
        if found is None:
            return text
        relative = os.path.relpath(found, Path(uri).parent)
        return f"[{text}]({relative}{'#' if anchor else ''}{anchor})"

    return _outside_code(markdown, lambda part: _LINK.sub(rewrite, part))


def _find(path: str, known: set[str]) -> str | None:
    """Return what the site has for a path of the repository."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/") and not (ROOT / path).is_dir():
        return path.removeprefix("docs/")  # MkDocs reports it if it does not exist
    folder = f"{path.removeprefix('docs/')}/README.md"
    names = [folder, f"{OUTSIDE}{path}", f"{OUTSIDE}{path}/README.md"]
    return next((name for name in names if name in known), None)


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Apply a change to everything but blocks of code."""
    parts, end = [], 0
    for match in _FENCE.finditer(markdown):
        parts += [change(markdown[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*parts, change(markdown[end:])])
