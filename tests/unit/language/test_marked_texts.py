"""Every text of the pages is marked for translation: in templates, in Python and in scripts."""

import ast
import re
from html.parser import HTMLParser

import jinja2
import pytest
from jinja2 import nodes

from openengagement.portal.environment import make_environment
from support.cases import cases
from support.messages import SOURCES

PORTAL = SOURCES / "portal"
ENGLISH = {"style_guide"}  # pages for those who build the product
TEMPLATES = sorted(
    path.name for path in (PORTAL / "templates").glob("*.html") if path.stem not in ENGLISH
)
MODULES = sorted((PORTAL).glob("*.py"))
SCRIPTS = sorted((PORTAL / "static").glob("*.js"))
ENVIRONMENT = make_environment(jinja2.FileSystemLoader(PORTAL / "templates"))
WORDS = re.compile(r"[A-Za-z]{2,}")
SENTENCE = re.compile(r"[A-Z][a-z]+ [a-z]+|^[A-Z][a-z]{2,}[.:]?$|[a-z]{2,} [a-z]{2,} [a-z]+")
# Attributes that people see or hear.
SHOWN = {"alt", "aria-label", "data-label", "placeholder", "title", "label"}
# Translated blocks, comments and expressions; and other statements.
EXPRESSION = re.compile(
    r"\{%-?\s*trans\b.*?endtrans\s*-?%\}|\{#.*?#\}|\{\{.*?\}\}"
    r"|\{% block width %\}.*?\{% endblock %\}",
    re.DOTALL,
)
ATTRIBUTE = re.compile(r'[a-z-]+="[^"]*"|data-[a-z]+')  # of a macro that writes attributes
STATEMENT = re.compile(r"\{%.*?%\}", re.DOTALL)
VALUE = "\0"  # the place of a value in a template's text
# Texts that are the same in every language.
SAME = {"UTC", "CSV", "PNG", "curl", "oauth_callback", ".env", "kB", "MB", "GB", "POST"}
SAME |= {"https://example.com", "Authorization", "Content-Type: application/json"}
MARKING = {"_", "gettext", "gettext_noop", "ngettext"}


class Texts(HTMLParser):
    """The texts that a template shows, outside of code, values and English parts."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.hidden = []  # open elements whose text is not ours, or is code
        self.open = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        for name in SHOWN & given.keys():
            self.found.append(given[name] or "")
        self.open.append((tag, tag in {"code", "pre", "script", "style"} or "lang" in given))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if not any(hides for _, hides in self.open):
            self.found.append(data)


def is_shown(text):
    plain = ATTRIBUTE.sub(" ", text).replace(VALUE, " ")
    for same in sorted(SAME, key=len, reverse=True):
        plain = plain.replace(same, " ")
    return bool(WORDS.search(plain))


def bare_texts(source):
    """Yield what a template shows without a mark."""
    parser = Texts()
    parser.feed(STATEMENT.sub("", EXPRESSION.sub(VALUE, source)))
    yield from (text.replace(VALUE, "").strip() for text in parser.found if is_shown(text))
    tree = ENVIRONMENT.parse(source)
    marked = {id(arg) for call in tree.find_all(nodes.Call) if is_mark(call) for arg in call.args}
    for node in tree.find_all(nodes.Const):
        if isinstance(node.value, str) and id(node) not in marked and SENTENCE.search(node.value):
            yield node.value


def is_mark(call):
    return isinstance(call.node, nodes.Name) and call.node.name in MARKING


@cases("name", TEMPLATES)
def test_a_template_shows_marked_texts_only(name):
    source = (PORTAL / "templates" / name).read_text(encoding="utf-8")
    assert list(bare_texts(source)) == []


@cases(
    ("source", "found"),
    [
        ("<p>Bare text</p>", ["Bare text"]),
        ("<p>{% trans %}Marked{% endtrans %} and bare</p>", ["and bare"]),
        ('<input placeholder="A name">', ["A name"]),
        ("<p>{{ 'Bare words here' if x else _('Marked') }}</p>", ["Bare words here"]),
        ("<pre>code of a program</pre><p lang='en'>English text</p><p>{{ value }} UTC</p>", []),
    ],
)
def test_bare_texts_are_found(source, found):
    assert list(bare_texts(source)) == found


@cases("name", TEMPLATES)
def test_a_template_translates_only_its_own_texts(name):
    """A translation may have markup, so a text from elsewhere must not be taken for one."""
    tree = ENVIRONMENT.parse((PORTAL / "templates" / name).read_text(encoding="utf-8"))
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == "_":
            assert isinstance(call.args[0], nodes.Const), f"line {call.lineno}"


# --- Python -------------------------------------------------------------------------------------

# Texts of Python that people do not read on a page, by module.
NOT_SHOWN = {
    "api_figures.py": "a shell command",
    "style_guide.py": "made-up figures, in the sandbox",
    "sample_charts.py": "made-up figures, in the sandbox",
    "sample_figures.py": "made-up figures, in the sandbox",
    "browsers.py": "names of browsers, which the registry keeps",
    "reference.py": "parts of the API reference, which is English",
}
SHOWN_BY = [path for path in MODULES if path.name not in NOT_SHOWN]


# Parts of texts of the API, by which a module knows a refusal.
PARTS = {
    "manager with a second factor, or vouched for by a provider",  # of `access`
    "start: must lie before end",
    "start: lies more than 4 weeks",
    "end: lies in the future",
    "Tweet IDs, at most",
}


def unmarked(tree):
    """Yield the sentences in a module that are not marked."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    skipped = set(docs)
    for node in ast.walk(tree):
        called = isinstance(node, ast.Call) and getattr(node.func, "id", "")
        if called and called in MARKING | {"TypeVar", "cast", "log_event"}:
            skipped |= {id(each) for arg in node.args for each in ast.walk(arg)}
        types = (getattr(node, "annotation", None), getattr(node, "returns", None))
        skipped |= {id(each) for kind in types if kind for each in ast.walk(kind)}
        if isinstance(node, ast.Assert | ast.Raise | ast.Subscript):
            skipped |= {id(each) for each in ast.walk(node)}
        if isinstance(node, ast.Raise):
            # The text of an exception may reach a page: mark it too.
            skipped -= {id(each) for each in ast.walk(node)} - marked_in(node)
    parts = [id(each) for each in ast.walk(tree) if getattr(each, "value", "") in PARTS]
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in skipped | set(parts) and SENTENCE.search(node.value):
            yield node.value


def marked_in(tree):
    """Return the parts of a statement that a mark covers."""
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in MARKING
    ]
    return {id(each) for call in calls for arg in call.args for each in ast.walk(arg)}


@cases("path", SHOWN_BY, ids=lambda path: path.name)
def test_a_module_of_the_pages_marks_its_texts(path):
    assert list(unmarked(ast.parse(path.read_text(encoding="utf-8")))) == []


# --- Scripts ------------------------------------------------------------------------------------

KEYS = {'"Enter"', '"Escape"', '"Home"', '"End"'}
STRING = re.compile(r'(?<![\w.])("(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)')


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_marks_its_texts(path):
    code = re.sub(r"(?m)^\s*//.*$|\s//.*$", "", path.read_text(encoding="utf-8"))
    marked = re.sub(r'gettext\(("(?:[^"\\\n]|\\.)*"(, )?)+', "", code)
    found = [text for text in STRING.findall(marked) if SENTENCE.search(text[1:-1])]
    found = [text for text in found if text not in KEYS]
    assert found == []
