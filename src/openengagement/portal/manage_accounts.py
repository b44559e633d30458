"""Accounts in the console: search them, and change their roles."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from openengagement.engagement.permissions import Role
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.portal.manage_keys import refuse_former_manager
from openengagement.portal.manage_views import actor_of, read_id, read_text
from openengagement.portal.page_request import PageRequest, with_query
from openengagement.portal.rendering import PageRenderer, Refusal, redirect
from openengagement.registry.decisions import NotManager
from openengagement.registry.registry import Registry

ACCOUNTS_PATH: Final = "/manage/accounts"
_SHOWN: Final = 50  # rows on one page
_VIEW: Final = ("q", "role", "page")
_NO_ACCOUNT: Final = Refusal(
    404,
    gettext_noop("There is no such account"),
    gettext_noop("It may have been erased. Search for it again."),
)
_NO_ROLE: Final = Refusal(
    400,
    gettext_noop("This form is not valid"),
    gettext_noop("Open the list of accounts again and choose a role."),
)
_OWN_ROLE: Final = Refusal(
    409,
    gettext_noop("You cannot change your own role"),
    gettext_noop(
        "Ask another manager, or use: openengagement account role. So one manager always stays."
    ),
)


class AccountsPage:
    """Handlers of `/manage/accounts`."""

    def __init__(
        self, renderer: PageRenderer, registry: Registry, *, now_s: Callable[[], float]
    ) -> None:
        self._renderer = renderer
        self._registry = registry
        self._now_s = now_s

    def show(self, request: PageRequest) -> Response:
        """`GET /manage/accounts`."""
        text, role = read_text(request.query), _read_role(request.query.get("role", ""))
        accounts = self._registry.accounts
        total = accounts.count_accounts(text, role)
        pages = -(-total // _SHOWN)
        page = max(1, min(read_id(request.query.get("page", "1")), pages))
        query = urlencode({"q": text, "role": role or ""})
        changed = accounts.read_account(read_id(request.query.get("changed", "")))
        context: dict[str, Any] = {
            "title": _("Accounts"),
            "scripts": ("page.js",),
            "accounts": accounts.search_accounts(
                text, role, limit=_SHOWN, skip=(page - 1) * _SHOWN
            ),
            "total": total,
            "roles": [each.value for each in Role],
            "q": text,
            "role": role or "",
            "page": page,
            "pages": pages,
            "url": f"{ACCOUNTS_PATH}?{query}&page=",
            "action": with_query(ACCOUNTS_PATH, request.kept(*_VIEW)),
            "changed": changed,
            "own_id": request.account_id,
        }
        return self._renderer.render(request, "manage_accounts", context=context)

    def act(self, request: PageRequest) -> Response:
        """`POST /manage/accounts`: change the role of an account, from its next request on."""
        assert request.session is not None, "the page's route demands a manager"
        role = _read_role(request.fields.get("role", ""))
        account = self._registry.accounts.read_account(read_id(request.fields.get("account", "")))
        if role is None:
            return self._renderer.refuse(request, _NO_ROLE)
        if account is None:
            return self._renderer.refuse(request, _NO_ACCOUNT)
        if account.id == request.account_id:
            return self._renderer.refuse(request, _OWN_ROLE)
        try:
            self._registry.decisions.set_role(
                account.id, role, actor=actor_of(request.session), now_s=int(self._now_s())
            )
        except NotManager:
            return refuse_former_manager(self._renderer, request)
        parameters = {**request.kept(*_VIEW), "changed": account.id}
        return redirect(f"{with_query(ACCOUNTS_PATH, parameters)}#notice")


def _read_role(text: str) -> Role | None:
    return Role(text) if text in tuple(Role) else None
