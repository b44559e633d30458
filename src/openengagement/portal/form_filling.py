"""Fill in a form of a rendered page with what a person typed before. Pure functions.

This works on the page's HTML, so that it works for every form. Browsers do the same when they go
back to a page. Passwords are never filled in, and neither are hidden fields, which belong to the
page. `data-kept` on a hidden field says that it belongs to what was typed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from itertools import accumulate
from typing import Final
from urllib.parse import urlsplit

Attributes = dict[str, str | None]
Edit = tuple[int, int, str]  # replace the text from here to there
_NEVER: Final = frozenset({"password", "file", "submit", "button", "reset", "image"})
_CHOICES: Final = frozenset({"checkbox", "radio"})


@dataclass(frozen=True, slots=True)
class FilledPage:
    """A page with a form that was filled in, if it has the form."""

    html: str
    main_at: int  # where the content begins
    has_form: bool

    def with_note(self, note: str) -> str:
        """Return the page with a note above its content."""
        return f"{self.html[: self.main_at]}{note}{self.html[self.main_at :]}"


@dataclass(slots=True)
class _Control:
    """A control of a form: its tag from `start` to `end`, and to `close` what it holds."""

    tag: str
    attributes: Attributes
    start: int
    end: int
    close: int = 0
    options: list["_Control"] = field(default_factory=list)

    def get(self, name: str) -> str:
        return self.attributes.get(name) or ""

    @property
    def is_typed(self) -> bool:
        """Whether a person fills it in."""
        if self.tag == "button" or "disabled" in self.attributes or self.get("type") in _NEVER:
            return False
        return self.get("type") != "hidden" or "data-kept" in self.attributes


@dataclass(slots=True)
class _Form:
    action: str
    folds: list[_Control]  # the `details` elements around it
    controls: list[_Control] = field(default_factory=list)

    def fits(self, fields: Mapping[str, str]) -> tuple[int, int]:
        """Rate how well these fields fit the form: by names, then by the values it sends itself."""
        names = {control.get("name") for control in self.controls}
        own = [each for each in self.controls if not each.is_typed]
        same = sum(fields.get(each.get("name")) == each.get("value") for each in own)
        return len(names & fields.keys()) - len(fields.keys() - names), same


def fill_form(html: str, action: str, *, fields: Mapping[str, str]) -> FilledPage:
    """Fill in the form of a page that posts to the path `action` and fits the fields best."""
    reader = _Reader(html)
    forms = [form for form in reader.forms if form.action == action]
    if not forms:
        return FilledPage(html, reader.main_at, has_form=False)
    form = max(forms, key=lambda each: each.fits(fields))
    edits = sorted([*_open(form.folds), *_fill(form, fields)], reverse=True)
    for start, end, text in edits:
        html = f"{html[:start]}{text}{html[end:]}"
    return FilledPage(html, reader.main_at, has_form=True)


def _open(folds: Sequence[_Control]) -> Iterator[Edit]:
    """Open the details around the form."""
    for fold in folds:
        yield _rewrite(fold, {**fold.attributes, "open": None})


def _fill(form: _Form, fields: Mapping[str, str]) -> Iterator[Edit]:
    for control in form.controls:
        given = fields.get(control.get("name"))
        if not control.is_typed:
            continue
        if control.get("type") == "checkbox":
            yield _mark(control, "checked", marked=given == control.get("value"))
        elif given is None:
            continue
        elif control.get("type") == "radio":
            yield _mark(control, "checked", marked=given == control.get("value"))
        elif control.tag == "select":
            for option in control.options:
                yield _mark(option, "selected", marked=given == option.get("value"))
        elif control.tag == "textarea":
            # Browsers drop a line break right after the tag.
            yield control.end, control.close, f"\n{escape(given)}"
        else:
            yield _rewrite(control, {**control.attributes, "value": given})


def _mark(control: _Control, name: str, *, marked: bool) -> Edit:
    others = {key: text for key, text in control.attributes.items() if key != name}
    return _rewrite(control, {**others, name: None} if marked else others)


def _rewrite(control: _Control, attributes: Attributes) -> Edit:
    parts = [
        name if text is None else f'{name}="{escape(text)}"' for name, text in attributes.items()
    ]
    return control.start, control.end, f"<{' '.join([control.tag, *parts])}>"


class _Reader(HTMLParser):
    """Reads the forms of a page that the templates rendered, with the places of their tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[_Form] = []
        self.main_at = 0
        self._lines = [0, *accumulate(len(line) + 1 for line in html.split("\n"))]
        self._folds: list[_Control] = []
        self._form: _Form | None = None
        self.feed(html)
        self.close()

    def _here(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        start = self._here()
        control = _Control(tag, dict(attrs), start, start + len(self.get_starttag_text() or ""))
        if tag == "main":
            self.main_at = control.end
        elif tag == "details":
            self._folds.append(control)
        elif tag == "form" and control.get("method") == "post":
            self._form = _Form(urlsplit(control.get("action")).path, list(self._folds))
            self.forms.append(self._form)
        elif self._form is not None:
            self._add(self._form, control)

    def _add(self, form: _Form, control: _Control) -> None:
        if control.tag == "option" and form.controls:
            form.controls[-1].options.append(control)
        elif control.tag in {"input", "select", "textarea", "button"} and control.get("name"):
            form.controls.append(control)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "details" and self._folds:
            self._folds.pop()
        elif tag == "textarea" and self._form is not None:
            self._form.controls[-1].close = self._here()
