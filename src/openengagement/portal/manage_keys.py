"""Platform keys in the console: list, issue and revoke them."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.responses import Response

from openengagement.auth.credentials import draw_platform_key
from openengagement.engagement.types import DAY_S
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.portal.access import MANAGERS_ONLY
from openengagement.portal.manage_views import InvalidNumber, actor_of, parse_number
from openengagement.portal.one_time_secrets import OneTimeSecrets
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import NO_FAULTS, PageRenderer, Refusal, redirect
from openengagement.registry.decisions import NotManager
from openengagement.registry.platform_keys import (
    NAME_LENGTH_MAX,
    PlatformKey,
    PlatformKeys,
    Scope,
    is_key_name,
)

KEYS_PATH: Final = "/manage/keys"
_SUBJECT: Final = "platform keys"
_DAYS_MAX: Final = 36_500
_SCOPES: Final = {
    Scope.EVENTS: gettext_noop("Send events, register and delete {tweets}"),
    Scope.ACCOUNTS: gettext_noop("Register and erase accounts"),
    Scope.USAGE: gettext_noop("Read the usage of apps"),
}
_NO_KEY: Final = Refusal(
    404,
    gettext_noop("There is no such platform key"),
    gettext_noop("It may have been revoked. Check the list of keys."),
)


class InvalidKey(ValueError):
    """Fields of the form are invalid; `faults` says what to write in each."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__(*faults.values())
        self.faults = faults


class PlatformKeysPage:
    """Handlers of `/manage/keys`."""

    def __init__(
        self,
        renderer: PageRenderer,
        keys: PlatformKeys,
        *,
        one_time_secrets: OneTimeSecrets,
        now_s: Callable[[], float],
    ) -> None:
        self._renderer = renderer
        self._keys = keys
        self._one_time_secrets = one_time_secrets
        self._now_s = now_s

    def show(self, request: PageRequest, *, error: InvalidKey | None = None) -> Response:
        """`GET /manage/keys`, and the answer to a form that has an `error`."""
        now_s = self._now_s()
        shown = {} if error else self._one_time_secrets.take(request, _SUBJECT)
        context: dict[str, Any] = {
            "title": _("Platform keys"),
            "scripts": ("page.js",),
            "keys": [
                {"key": key, "expired": key.is_expired(now_s)}
                for key in self._keys.list_platform_keys()
            ],
            "scopes": {scope: _(words) for scope, words in _SCOPES.items()},
            "all_scopes": " ".join(Scope),
            "shown": shown,
            "typed": request.fields,
            "faults": error.faults if error else NO_FAULTS,
            "name_length_max": NAME_LENGTH_MAX,
        }
        status = 400 if error else 200
        return self._renderer.render(request, "manage_keys", context=context, status=status)

    def act(self, request: PageRequest) -> Response:
        """`POST /manage/keys`: issue a key, or revoke the one with the id `revoke`."""
        try:
            if key_id := request.fields.get("revoke"):
                return self._revoke(request, key_id)
            return self._issue(request)
        except InvalidKey as error:
            return self.show(request, error=error)
        except NotManager:
            return refuse_former_manager(self._renderer, request)

    def _issue(self, request: PageRequest) -> Response:
        assert request.session is not None, "the page's route demands a manager"
        name, scopes, days = _read_form(request)
        now_s = int(self._now_s())
        expires_at_s = None if days is None else now_s + days * DAY_S
        secret, key = draw_platform_key(name, now_s, scopes=scopes, expires_at_s=expires_at_s)
        self._keys.add_platform_key(key, actor=actor_of(request.session))
        shown = {"name": name, "id": key.id, "platform_key": secret}
        self._one_time_secrets.put(request, _SUBJECT, secrets=shown)
        return redirect(KEYS_PATH)

    def _revoke(self, request: PageRequest, key_id: str) -> Response:
        assert request.session is not None, "the page's route demands a manager"
        key = self._find(key_id)
        actor, now_s = actor_of(request.session), int(self._now_s())
        if key is None or not self._keys.revoke_platform_key(key, now_s=now_s, actor=actor):
            return self._renderer.refuse(request, _NO_KEY)
        return redirect(KEYS_PATH)

    def _find(self, key_id: str) -> PlatformKey | None:
        return next((key for key in self._keys.list_platform_keys() if key.id == key_id), None)


def refuse_former_manager(renderer: PageRenderer, request: PageRequest) -> Response:
    """Refuse a person whose role was taken away while the form was on its way."""
    if request.session is not None:
        request.session = request.session.without_role()
    return renderer.refuse(request, MANAGERS_ONLY)


def _read_form(request: PageRequest) -> tuple[str, str | None, int | None]:
    """Return the name, the scopes (None for all) and the days of a key to issue.

    Raises:
        InvalidKey
    """
    fields, faults, days = request.fields, {}, None
    name = fields.get("name", "").strip()
    if not is_key_name(name):
        faults["name"] = _(
            "Write a name of 1 to %(most)s visible characters.", most=NAME_LENGTH_MAX
        )
    try:
        days = parse_number(fields.get("days", ""), field="days", most=_DAYS_MAX)
    except InvalidNumber as error:
        faults["days"] = str(error)
    scopes = [scope for scope in Scope if f"scope_{scope}" in fields]
    if not scopes:
        faults["scopes"] = _("Choose at least one purpose.")
    if faults:
        raise InvalidKey(faults)
    return name, None if len(scopes) == len(Scope) else " ".join(sorted(scopes)), days
