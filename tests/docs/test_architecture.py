"""docs/architecture.md describes the package as it is: its layers, packages and files exist."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "openengagement"
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_the_layers_are_those_that_are_checked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["type"] == "layers")
    described = re.search(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert described
    assert [line.strip() for line in described[1].splitlines()] == layers


def test_every_package_and_module_is_described():
    table = PAGE.partition("## Layers")[2].partition("## The path")[0]
    found = {path.name for path in PACKAGE.iterdir() if not path.name.startswith("_")}
    found -= {"py.typed"}
    named = set(re.findall(r"`([a-z_]+(?:\.py|/))`", table))
    assert {name.removesuffix("/") for name in named} >= found


def test_every_module_of_a_package_exists():
    table = PAGE.partition("## Layers")[2].partition("## The path")[0]
    missing = [
        f"{package}/{module}"
        for package, content in re.findall(r"^\| `([a-z_]+)/` \| (.*) \|$", table, re.MULTILINE)
        for module in re.findall(r"`([a-z_0-9]+\.py)`", content)
        if not (PACKAGE / package / module).exists()
    ]
    assert missing == []


def test_every_name_exists():
    table = PAGE.partition("## Where to look")[2].partition("## Layers")[0]
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    names = re.findall(r"`([A-Za-z_]+(?:\.[a-z_]+)?)[`(]", table)
    missing = [
        name
        for name in names
        if not name.endswith(".py")
        for part in name.split(".")
        if not re.search(rf"\b{part}\b", source)
    ]
    assert missing == []


def test_every_path_exists():
    paths = re.findall(r"`([a-z_/0-9]+(?:/[a-z_0-9]+\.py|/))`", PAGE)
    planned = {"stores/clickhouse/"}
    files = {"counters.segments/"}
    missing = [
        path
        for path in set(paths) - planned - files
        if not any((base / path).exists() for base in (PACKAGE, PACKAGE / "portal", ROOT))
    ]
    assert missing == []
