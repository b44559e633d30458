"""The rules for the form of an app: name, description, website, callback URLs, access level."""

import unicodedata
from collections.abc import Collection, Mapping
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
    """A field of the form breaks a rule. The text says which; `field` names the form field."""

    def __init__(self, text: str, *, field: str) -> None:
        super().__init__(text)
        self.field = field


def check_app_form(
    form: AppForm, *, schemes: CallbackSchemes, registered: Collection[str] = ()
) -> None:
    """Check the form of an app.

    The app keeps the callback URLs in `registered` even if `schemes` no longer allows theirs.

    Raises:
        UnfitApp
    """
    if not _is_visible(form.name) or len(form.name) > NAME_LENGTH_MAX or _has_hidden(form.name):
        text = _("the name of an app is 1 to %(most)s visible characters", most=NAME_LENGTH_MAX)
        raise UnfitApp(text, field="name")
    description = form.description or ""
    if len(description) > DESCRIPTION_LENGTH_MAX or _has_hidden(description):
        text = _(
            "the description is at most %(most)s visible characters", most=DESCRIPTION_LENGTH_MAX
        )
        raise UnfitApp(text, field="description")
    if form.website is not None:
        _check_website(form.website)
    if len(form.callbacks) > CALLBACKS_MAX:
        text = _("an app has at most %(most)s callback URLs", most=CALLBACKS_MAX)
        raise UnfitApp(text, field="callbacks")
    if len(set(form.callbacks)) < len(form.callbacks):
        raise UnfitApp(_("a callback URL is given twice"), field="callbacks")
    for url in form.callbacks:
        try:
            if url not in registered:
                check_callback(url, schemes)
        except UnfitCallback as error:
            text = _(
                "the callback URL %(url)s cannot be used: %(why)s", url=repr(url[:80]), why=error
            )
            raise UnfitApp(text, field="callbacks") from None
    if form.access_level not in tuple(AccessLevel):
        text = _("the access level is one of %(names)s", names=", ".join(AccessLevel))
        raise UnfitApp(text, field="access_level")


def _check_website(url: str) -> None:
    if not url.lower().startswith(("https://", "http://")):
        text = _("the website is a URL that begins with https:// or http://")
        raise UnfitApp(text, field="website")
    try:
        check_url(url)
    except UnfitCallback as error:
        text = _("the website cannot be used: %(why)s", why=error)
        raise UnfitApp(text, field="website") from None


def _is_visible(text: str) -> bool:
    return any(unicodedata.category(char)[0] in "LNPS" and char not in _BLANK for char in text)


def _has_hidden(text: str) -> bool:
    return any(unicodedata.category(char) in _HIDDEN and char not in _JOINERS for char in text)
