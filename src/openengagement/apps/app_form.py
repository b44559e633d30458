"""What a developer may say of an app."""

import unicodedata
from collections.abc import Mapping
from typing import Final

from openengagement.auth.callbacks import CALLBACKS_MAX, UnfitCallback, check_callback
from openengagement.engagement.permissions import AccessLevel
from openengagement.registry.apps import AppForm

NAME_LENGTH_MAX: Final = 128
DESCRIPTION_LENGTH_MAX: Final = 512
ACCESS_LEVEL_TEXTS: Final[Mapping[str, str]] = {
    AccessLevel.READ: "Read only",
    AccessLevel.READ_WRITE: "Read and write",
    AccessLevel.READ_WRITE_MESSAGES: "Read, write and access Direct Messages",
}
# Control and format characters: among the latter those that turn the direction of text around, by
# which a name reads as another. Joiners are format characters too, but many scripts need them.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters and symbols that show nothing
_JOINERS: Final = frozenset("\u200c\u200d")


class UnfitApp(ValueError):
    """What is said of an app cannot stand; the text says what to change, `field` where."""

    def __init__(self, text: str, *, field: str) -> None:
        super().__init__(text)
        self.field = field


def check_app_form(form: AppForm) -> None:
    """Refuse what an app may not be.

    Raises:
        UnfitApp
    """
    if not _shows(form.name) or len(form.name) > NAME_LENGTH_MAX or _hides(form.name):
        text = f"the name of an app is 1 to {NAME_LENGTH_MAX} visible characters"
        raise UnfitApp(text, field="name")
    description = form.description or ""
    if len(description) > DESCRIPTION_LENGTH_MAX or _hides(description):
        text = f"the description is at most {DESCRIPTION_LENGTH_MAX} visible characters"
        raise UnfitApp(text, field="description")
    if form.website is not None:
        _check_website(form.website)
    if len(form.callbacks) > CALLBACKS_MAX:
        raise UnfitApp(f"an app has at most {CALLBACKS_MAX} callback URLs", field="callbacks")
    if len(set(form.callbacks)) < len(form.callbacks):
        raise UnfitApp("a callback URL is given twice", field="callbacks")
    for url in form.callbacks:
        try:
            check_callback(url)
        except UnfitCallback as error:
            text = f"the callback URL {url[:80]!r} cannot be used: {error}"
            raise UnfitApp(text, field="callbacks") from None
    if form.access_level not in tuple(AccessLevel):
        text = f"the access level is one of {', '.join(AccessLevel)}"
        raise UnfitApp(text, field="access_level")


def _check_website(url: str) -> None:
    if not url.lower().startswith(("https://", "http://")):
        text = "the website is an address that begins with https:// or http://"
        raise UnfitApp(text, field="website")
    try:
        check_callback(url)
    except UnfitCallback as error:
        raise UnfitApp(f"the website cannot be used: {error}", field="website") from None


def _shows(text: str) -> bool:
    """Whether there is something to see."""
    return any(unicodedata.category(each)[0] in "LNPS" and each not in _BLANK for each in text)


def _hides(text: str) -> bool:
    return any(unicodedata.category(each) in _HIDDEN and each not in _JOINERS for each in text)
