"""The package imports fast, imports nothing of the server, and exports what it says."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import openengagement_client

PACKAGE = Path(openengagement_client.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())["project"]
# CPU of the import, in that of a module of Python: the machine may be slow.
IMPORT_MAX = 4
REFERENCE = "import asyncio"
MEASUREMENTS = 10  # a busy machine may disturb some
MEASURE = """
import sys, time
before = time.process_time()
{code}
print(time.process_time() - before)
print(*sys.modules)
"""


def run_python(code):
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout


def measure(code):
    """Return the CPU seconds of an import, without those of starting Python, and the modules."""
    seconds, modules = run_python(MEASURE.format(code=code)).splitlines()
    return float(seconds), modules.split()


@pytest.mark.parametrize(
    "names", ["EngagementClient", "AsyncEngagementClient, EngagementClient, PlatformClient"]
)
def test_it_imports_fast_and_without_the_server(names):
    code = f"from openengagement_client import {names}"
    _, modules = measure(code)  # writes the bytecode
    pairs = ((measure(code)[0], measure(REFERENCE)[0]) for _ in range(MEASUREMENTS))
    assert any(ours < IMPORT_MAX * reference for ours, reference in pairs)
    assert not [name for name in modules if name.partition(".")[0] == "openengagement"]
    heavy = {"httpx", "asyncio"} if names == "EngagementClient" else {"httpx"}
    heavy |= {"numpy", "polars", "pandas", "pyarrow", "msgspec"}
    assert not heavy & set(modules)


def test_the_server_imports_the_signature_module_alone():
    code = "import sys, openengagement_client.signature\nprint(*sys.modules)"
    modules = run_python(code).split()
    ours = {name for name in modules if name.startswith("openengagement_client")}
    assert ours == {"openengagement_client", "openengagement_client.signature"}


def test_httpx_is_the_only_dependency():
    assert PROJECT["dependencies"] == ["httpx>=0.27"]
    assert (PACKAGE / "py.typed").exists()


def test_every_name_is_exported_from_the_module_that_type_checkers_see():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: node.module.rpartition(".")[2] for node in checked.body for alias in node.names
    }
    assert imported == openengagement_client._MODULE_OF
    assert sorted(imported) == openengagement_client.__all__ == dir(openengagement_client)
    for name in imported:
        assert getattr(openengagement_client, name).__name__ == name


def test_every_exception_is_exported():
    errors = sys.modules["openengagement_client.errors"]
    kinds = [
        each.__name__
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.EngagementError)
    ]
    assert set(kinds) <= set(openengagement_client.__all__)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="Nonsense"):
        openengagement_client.Nonsense  # noqa: B018
