"""Budgets for the size and shape of the code in `src/openengagement` and of the client.

Code that must exceed a budget is named in one of the tables below, with the reason. An entry that
is not needed any more fails as well, so that the tables stay true.
"""

import ast
import math
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (ROOT / "src" / "openengagement", ROOT / "packages/client/src/openengagement_client")
MODULES = sorted(path for source in SOURCES for path in source.rglob("*.py"))

FILE_LINES = 400
FILE_LINES_P90 = 300
FUNCTION_LINES = 50
FUNCTION_LINES_P90 = 20
FUNCTION_LINES_MEDIAN = 8
PARAMETERS = 5
POSITIONAL_PARAMETERS = 2
FIRST_PARTY_IMPORTS = 8

# Keys below are "module:function", as in "openengagement.api.asgi:Api._serve".

# More than five parameters, or more than two that can be passed by position.
MANY_PARAMETERS: dict[str, str] = {
    "openengagement.cli.load:load": "a command: its parameters are the command line's",
    "openengagement.cli.consume:consume": "a command",
    "openengagement.cli.sandbox:sandbox": "a command",
    "openengagement.cli.serve:serve": "a command",
    "openengagement.cli.maintenance:backup": "a command",
    "openengagement.cli.maintenance:prune": "a command",
    "openengagement.cli.restore:restore": "a command",
    "openengagement_client.command_line.querying:query": "a command",
    "openengagement_client.command_line.sending:register": "a command",
    "openengagement_client.command_line.sending:send": "a command",
    "openengagement_client.command_line.signing_in:login": "a command",
    "openengagement.cli.usage:usage": "a command",
    "openengagement.notifications.posting:_CheckingBackend.connect_tcp": "httpcore's signature",
    "openengagement.cli.move:move": "a command",
    "openengagement.language.current:ngettext": "gettext's signature",
    "openengagement.language.languages:Language.ngettext": "gettext's signature",
    "openengagement.portal.environment:_ngettext": "gettext's signature",
    "openengagement.portal.sign_in:SignIn.__init__": "each is a part of signing in",
    "openengagement.portal.pages:Pages.__init__": "the parts that every page needs",
}

# Functions that catch Exception, BaseException or everything and do not raise it again.
BROAD_EXCEPTS: dict[str, str] = {
    "openengagement.stores.cluster.chores:Chores._try": "the other chores run, and it runs again",
    "openengagement.api.asgi:Api._serve": "the edge: no traceback reaches a client",
    "openengagement.api.health:Health._has_failed": "any failure is what it reports",
    "openengagement.ingest.logs.messages:MessageParser._parse": "a bad message blocks no other",
    "openengagement.ingest.writer:BatchWriter._apply": "producers must hear of any failed commit",
    "openengagement.ingest.sources.counting_socket:_answer": "the worker must get an answer",
    "openengagement.ingest.formats.column_decoder:decode_into": "the reader hears of any failure",
    "openengagement.stores.embedded.compaction:failures_logged": "committed data is safe",
    "openengagement.notifications.delivering:Deliverer.run": "it is logged, and tried again",
    "openengagement.notifications.delivering:Deliverer._attempt": "other deliveries go on",
    "openengagement.processes.damage_notices:DamageNotices._try_to_write": "it is tried again",
    "openengagement.notifications.letters:Letters._work": "it is logged; other letters go on",
    "openengagement.housekeeping:run_chore": "it is logged, and tried again in a moment",
}

# More first-party imports than eight.
MANY_IMPORTS: dict[str, str] = {
    "openengagement.portal.browser_sessions": "it starts, finds and ends sessions, and owns forms",
    "openengagement.portal.sign_in": "the last step of every way to sign in",
    "openengagement.auth.oauth1": "it reads, verifies and explains a signature",
    "openengagement.stores.opening": "it opens, creates and checks every engine",
    "openengagement.cli.sandbox": "it builds, describes and starts every part of a sandbox",
    "openengagement.cli.consume": "it puts a consumer together",
    "openengagement.ingest.mapping.mapped_parser": "it reads rows of every format",
    "openengagement.ingest.logs.messages": "it leads a message through every step",
    "openengagement.api.health": "it asks every part of the server",
    "openengagement.api.usage": "each import is a type of its arguments or of its answer",
    "openengagement.api.openapi.schemas": "it describes every type of the API",
    "openengagement.cli.common": "it opens a folder, and shows every failure of it",
    "openengagement.cli.check": "it verifies every file, and notifies of damage",
    "openengagement.cli.webhooks": "it registers, tests, lists and removes webhooks",
    "openengagement.cli.doctor": "it looks at every part of a setup",
    "openengagement.ingest.sources.worker_uploads": "it applies and logs all kinds of uploads",
    "openengagement.stores.cluster.inventory": "it reads every table of the store",
    "openengagement.stores.embedded.inventory": "it reads every table of the store",
    "openengagement.moving.passes": "it compares every kind of content of two stores",
    "openengagement.moving.sides": "it opens every part of a folder, or of a cluster",
    "openengagement.stores.cluster.store": "it puts the parts of the store together",
    "openengagement.auth.three_legged_flow": "it touches apps, accounts and both kinds of tokens",
    "openengagement.auth.bearer_tokens": "it checks credentials, and issues and revokes tokens",
    "openengagement.registry.registry": "it bundles the classes of all tables",
    "openengagement.data_folder": "it opens every part of a folder, and compares them",
    "openengagement.sandbox.seed": "it makes a folder, and fills every part of it",
    "openengagement.sandbox.demo": "it makes accounts, an app and credentials",
    "openengagement.server": "the composition root wires everything",
    "openengagement.server_pages": "the part of it that wires the pages",
    "openengagement.server_parts": "the part of it that wires what the others share",
    "openengagement.api.routes": "the table of all calls",
    "openengagement.api.asgi": "it leads a request through every step",
    "openengagement.api.erasure": "it leads an erasure from the call to its answer",
    "openengagement.api.platform": "it leads a batch through every step before it is handled",
    "openengagement.stores.embedded.compaction": "it chooses, runs, measures and logs merges",
    "openengagement.ingest.batch_parser": "it leads a body of any format through every step",
    "openengagement.api.insights": "authenticate, limit, query and meter: one step each",
    "openengagement.ingest.sources.loader": "it leads a file through every step",
    "openengagement.processes.counting_process": "it puts the counting process together",
    "openengagement.processes.worker": "it puts the worker process together",
    "openengagement.portal.consent": "it leads a request for consent from the link to the decision",
    "openengagement.portal.developer": "it leads the form of an app to the app",
    "openengagement.portal.manage_system": "it reads every part of the system",
    "openengagement.portal.manage_views": "it reads every form of the console",
    "openengagement.portal.password_sign_in": "it leads a password from the form to the session",
    "openengagement.portal.rendering": "it puts together what every page has",
    "openengagement.portal.routes": "it lists the handlers of all pages",
    "openengagement.portal.code_sign_in": "it leads a code from the form to the session",
    "openengagement.portal.api_console": "it leads a request from the form to its answer",
    "openengagement.portal.app_usage": "it reads usage, limits and refusals",
    "openengagement.portal.callback_tester": "it leads a callback URL from the form to the answer",
    "openengagement.portal.manage": "it decides on apps, and shows usage and the audit log",
    "openengagement.portal.manage_keys": "it lists, issues and revokes keys",
    "openengagement.portal.manage_webhooks": "it lists, adds, tests and changes webhooks",
    "openengagement.portal.charts": "it leads a chart from its address to the page and the file",
    "openengagement.portal.explorer": "it leads the list from its address to the page and the file",
    "openengagement.portal.overview": "it leads a period from its address to the page and the file",
    "openengagement.portal.oidc": "it leads a sign-in through every step",
    "openengagement.portal.pages": "it applies every rule that all pages share",
    "openengagement.stores.embedded.store": "it puts the embedded store together",
    "openengagement_client": "it exports the public names",
    "openengagement_client.async_client": "it leads a query through every step",
    "openengagement_client.client": "it leads a query through every step",
    "openengagement_client.command_line.output": "it leads a result to each of its forms",
    "openengagement_client.command_line.querying": "it leads a query from ids to rows",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef

# Two kinds of signatures are exempt. ASGI fixes the one of an application. The parameters of a
# command are the options of the command line.
ASGI = ["scope", "receive", "send"]
COMMAND_DECORATORS = {"callback", "command"}


def name_of(path: Path) -> str:
    source = next(source for source in SOURCES if path.is_relative_to(source))
    parts = path.relative_to(source.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def functions_in(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function, bool]]:
    """Yield every function with its dotted name, and whether it is a method."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield f"{prefix}{child.name}", child, isinstance(node, ast.ClassDef)
            yield from functions_in(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from functions_in(child, f"{prefix}{child.name}.")
        else:
            yield from functions_in(child, prefix)


@cache
def all_functions() -> list[tuple[str, Function, bool]]:
    return [
        (f"{name_of(path)}:{name}", node, is_method)
        for path in MODULES
        for name, node, is_method in functions_in(tree_of(path))
    ]


def length(node: Function) -> int:
    """Count the lines from `def` to the end of the function, without its docstring."""
    assert node.end_lineno is not None
    lines = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        docstring = node.body[0]
        assert docstring.end_lineno is not None
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


def decorator_names(node: Function) -> set[str]:
    calls = (d.func if isinstance(d, ast.Call) else d for d in node.decorator_list)
    return {c.attr if isinstance(c, ast.Attribute) else getattr(c, "id", "") for c in calls}


def has_too_many_parameters(node: Function, *, is_method: bool) -> bool:
    decorators = decorator_names(node)
    if decorators & COMMAND_DECORATORS:
        return False
    positional = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
    if is_method and "staticmethod" not in decorators:
        positional = positional[1:]
    if positional == ASGI or (node.name.startswith("__") and node.name != "__init__"):
        return False
    count = len(positional) + len(node.args.kwonlyargs)
    return count > PARAMETERS or len(positional) > POSITIONAL_PARAMETERS


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Return whether it catches everything and does not raise it again."""
    last = handler.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False
    caught = handler.type
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(
        name is None or (isinstance(name, ast.Name) and name.id in {"Exception", "BaseException"})
        for name in names
    )


@cache
def known_names() -> frozenset[str]:
    return frozenset(map(name_of, MODULES))


def first_party_imports(tree: ast.AST) -> set[str]:
    """Return the modules of this package that a module imports, in either form of `import`."""
    known = known_names()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in known else node.module for name in inner}
    return found & known


def assert_only_named(offenders: set[str], named: dict[str, str], what: str) -> None:
    unnamed, stale = sorted(offenders - set(named)), sorted(set(named) - offenders)
    assert not unnamed, f"{what}: {unnamed}"
    assert not stale, f"in a table of exceptions, but within the budget: {stale}"


def percentile(sizes: Iterable[int], percent: int) -> int:
    """Return the smallest size that at least this share of the sizes does not exceed."""
    ordered = sorted(sizes)
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


def test_files_are_short():
    sizes = {name_of(path): len(path.read_bytes().splitlines()) for path in MODULES}
    assert {name: size for name, size in sizes.items() if size > FILE_LINES} == {}
    assert percentile(sizes.values(), 90) <= FILE_LINES_P90


def test_functions_are_short():
    sizes = {name: length(node) for name, node, _ in all_functions()}
    assert {name: size for name, size in sizes.items() if size > FUNCTION_LINES} == {}
    assert percentile(sizes.values(), 90) <= FUNCTION_LINES_P90
    assert percentile(sizes.values(), 50) <= FUNCTION_LINES_MEDIAN


def test_parameters_are_few():
    """A function has at most five parameters besides self, keyword-only from the third."""
    many = {
        name
        for name, node, is_method in all_functions()
        if has_too_many_parameters(node, is_method=is_method)
    }
    what = f"more than {PARAMETERS} parameters, or the third can be given by position"
    assert_only_named(many, MANY_PARAMETERS, what)


def test_modules_have_few_first_party_imports():
    """A module depends on few others. Only the composition root may depend on most of them."""
    counts = {name_of(p): len(first_party_imports(tree_of(p))) for p in MODULES}
    many = {name for name, count in counts.items() if count > FIRST_PARTY_IMPORTS}
    assert_only_named(many, MANY_IMPORTS, f"more than {FIRST_PARTY_IMPORTS} first-party imports")


def test_every_init_is_empty():
    """A name is defined in one module. Only the client, a library, exports names a second time."""
    exporting = SOURCES[1] / "__init__.py"
    inits = [path for path in MODULES if path.name == "__init__.py" and path != exporting]
    assert [name_of(path) for path in inits if path.read_bytes().strip()] == []


def test_every_folder_of_modules_is_a_package():
    """The import rules ignore a folder without __init__.py. Only migrations may be in one."""
    folders = {path.parent for path in MODULES if path.parent.name != "versions"}
    assert [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").exists()] == []


def test_broad_excepts_are_named():
    """Catching everything hides broken invariants, so the table above names every such place."""
    broad: set[str] = set()
    for path in MODULES:
        tree = tree_of(path)
        spans = [(node.lineno, node.end_lineno or 0, n) for n, node, _ in functions_in(tree)]
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler) and is_broad(node):
                around = [n for first, last, n in spans if first <= node.lineno <= last]
                broad.add(f"{name_of(path)}:{around[-1] if around else '<module>'}")
    assert_only_named(broad, BROAD_EXCEPTS, "catches everything")


# Written in pieces, so that this test does not find them in this file.
MACHINE_FOLDERS = "|".join(("wo" + "rk", "ro" + "ot", "op" + "t", "tmp/" + "lab"))
MACHINE_PATH = re.compile(rf"(?<![\w.~$}}\-])/(?:{MACHINE_FOLDERS})(?![\w\-])".encode())
REGISTRIES = ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "npmmirror" + ".com")
REGISTRY_HOST = re.compile("|".join(map(re.escape, REGISTRIES)).encode())
NOT_OURS = {"__pycache__", "node_modules"}
NOT_OURS_ON_TOP = {"build", "data", "dist", "htmlcov", "var"}


def repository_files() -> Iterator[Path]:
    """Yield all files except caches, installed packages and local data (see .gitignore)."""
    for folder, folders, files in os.walk(ROOT):
        hidden = {f for f in folders if f.startswith(".") and f not in {".ci", ".github"}}
        skipped = NOT_OURS | NOT_OURS_ON_TOP if folder == str(ROOT) else NOT_OURS
        folders[:] = sorted(set(folders) - hidden - skipped)
        for file in files:
            if file not in {".env", ".git"} and not file.startswith(".coverage"):
                yield Path(folder, file)


UNWANTED = {"a folder of one machine": MACHINE_PATH, "a package registry": REGISTRY_HOST}


def test_no_file_names_a_machine_or_a_package_source():
    """A clone must work on every machine, with any package source."""
    naming = [
        f"{path.relative_to(ROOT)} names {what}: {found[0].decode()}"
        for path in repository_files()
        for content in [path.read_bytes()]
        for what, pattern in UNWANTED.items()
        if (found := pattern.search(content))
    ]
    assert not naming
