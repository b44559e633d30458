"""The rules for the form of an app: name, description, website, callback URLs, access level."""

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from openengagement.auth.callbacks import CALLBACKS_MAX, UnfitCallback, check_callback, check_url
from openengagement.engagement.callback_schemes import CallbackSchemes
from openengagement.engagement.permissions import AccessLevel
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.registry.apps import AppForm

NAME_LENGTH_MAX: Final = 128
DESCRIPTION_LENGTH_MAX: Final = 512
ACCESS_LEVEL_TEXTS: Final[Mapping[str, str]] = {
    AccessLevel.READ: gettext_noop("Read only"),
    AccessLevel.READ_WRITE: gettext_noop("Read and write"),
    AccessLevel.READ_WRITE_MESSAGES: gettext_noop("Read, write and access Direct Messages"),
}
# Unicode categories of invisible characters. Some format characters (Cf) reverse the direction of
# text, so that one name reads as another. Joiners are allowed: many scripts need them.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
# Letters and symbols without a visible shape.
_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_JOINERS: Final = frozenset("\u200c\u200d")


class UnfitApp(ValueError):
    """Fields of the form break rules.

    `faults` maps the names of the fields to what is wrong, in the order of the form. The text is
    that of the first one, and `field` its name.
    """

    def __init__(self, faults: Mapping[str, str]) -> None:
        self.faults = faults
        self.field, text = next(iter(faults.items()))
        super().__init__(text)


def check_app_form(
    form: AppForm, *, schemes: CallbackSchemes, registered: Collection[str] = ()
) -> None:
    """Check the form of an app.

    The app keeps the callback URLs in `registered` even if `schemes` no longer allows theirs.

    Raises:
        UnfitApp
    """
    found = {
        "name": _find_fault_of_name(form.name),
        "description": _find_fault_of_description(form.description or ""),
        "website": _find_fault_of_website(form.website),
        "callbacks": _find_fault_of_callbacks(form.callbacks, schemes, registered=registered),
        "access_level": _find_fault_of_access_level(form.access_level),
    }
    if faults := {field: text for field, text in found.items() if text}:
        raise UnfitApp(faults)


def _find_fault_of_name(name: str) -> str:
    if _is_visible(name) and len(name) <= NAME_LENGTH_MAX and not _has_hidden(name):
        return ""
    return _("the name of an app is 1 to %(most)s visible characters", most=NAME_LENGTH_MAX)


def _find_fault_of_description(description: str) -> str:
    if len(description) <= DESCRIPTION_LENGTH_MAX and not _has_hidden(description):
        return ""
    return _("the description is at most %(most)s visible characters", most=DESCRIPTION_LENGTH_MAX)


def _find_fault_of_website(url: str | None) -> str:
    if url is None:
        return ""
    if not url.lower().startswith(("https://", "http://")):
        return _("the website is a URL that begins with https:// or http://")
    try:
        check_url(url)
    except UnfitCallback as error:
        return _("the website cannot be used: %(why)s", why=error)
    return ""


def _find_fault_of_callbacks(
    urls: Sequence[str], schemes: CallbackSchemes, *, registered: Collection[str]
) -> str:
    if len(urls) > CALLBACKS_MAX:
        return _("an app has at most %(most)s callback URLs", most=CALLBACKS_MAX)
    if len(set(urls)) < len(urls):
        return _("a callback URL is given twice")
    for url in urls:
        try:
            if url not in registered:
                check_callback(url, schemes)
        except UnfitCallback as error:
            shown = repr(url[:80])
            return _("the callback URL %(url)s cannot be used: %(why)s", url=shown, why=error)
    return ""


def _find_fault_of_access_level(access_level: str) -> str:
    if access_level in tuple(AccessLevel):
        return ""
    return _("the access level is one of %(names)s", names=", ".join(AccessLevel))


def _is_visible(text: str) -> bool:
    return any(unicodedata.category(char)[0] in "LNPS" and char not in _BLANK for char in text)


def _has_hidden(text: str) -> bool:
    return any(unicodedata.category(char) in _HIDDEN and char not in _JOINERS for char in text)
