"""The environment of the templates: it translates their texts, and writes numbers and times.

All of it is in the language of the request (`language.current`).
"""

from collections.abc import Iterable

from jinja2 import BaseLoader, Environment, StrictUndefined
from jinja2.ext import InternationalizationExtension
from markupsafe import Markup, escape

from openengagement.engagement.types import utc_datetime
from openengagement.language.current import current
from openengagement.portal.months import format_month
from openengagement.portal.series import format_number


def make_environment(loader: BaseLoader) -> Environment:
    """Make the environment of the templates that a loader finds."""
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        extensions=[InternationalizationExtension],
    )
    environment.policies["ext.i18n.trimmed"] = True
    # The new style escapes the values that a template puts into a translated text.
    environment.install_gettext_callables(_gettext, _ngettext, newstyle=True)  # type: ignore[attr-defined]
    environment.filters |= {
        "day": _day,
        "fixed": _fixed,
        "inside": _inside,
        "listed": _listed,
        "moment": _moment,
        "month": format_month,
        "number": format_number,
        "percent": _percent,
        "translated": _translated,
        "utc": utc_datetime,
    }
    environment.globals["language"] = current
    return environment


def _gettext(text: str) -> str:
    return current().gettext(text)


def _ngettext(one: str, many: str, count: int) -> str:
    return current().ngettext(one, many, count)


def _translated(text: str, **values: object) -> Markup:
    """Translate a marked text, and put values into it. Everything but markup is escaped.

    A template calls `_` with texts of its own only: their translations may have markup.
    """
    return escape(current().gettext(text)) % values


def _day(at_s: float) -> str:
    return current().formats.day(utc_datetime(at_s).date())


def _moment(at_s: float) -> str:
    return current().formats.moment(at_s)


def _fixed(value: float, digits: int) -> str:
    return current().formats.fixed(value, digits)


def _percent(share: float, digits: int = 2) -> str:
    return current().formats.percent(share, digits)


def _inside(label: str) -> str:
    return current().inside(label)


def _listed(items: Iterable[str]) -> str:
    return current().formats.listed([*items])
