"""The table of all pages: path, handler, who may see the page, and its concurrency limit."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from openengagement.portal.access import Access
from openengagement.portal.account import AccountSettings
from openengagement.portal.api_console import ApiConsole
from openengagement.portal.app_usage import AppUsagePage
from openengagement.portal.assets import STATIC_PREFIX
from openengagement.portal.callback_tester import CallbackTester
from openengagement.portal.charts import Charts
from openengagement.portal.code_sign_in import CodeSignIn
from openengagement.portal.consent import Consent
from openengagement.portal.developer import DeveloperApps
from openengagement.portal.explorer import Explorer
from openengagement.portal.home import Home
from openengagement.portal.keys import AppKeys
from openengagement.portal.language_choice import LANGUAGE_PATH, LanguageChoice
from openengagement.portal.manage import Console
from openengagement.portal.manage_accounts import AccountsPage
from openengagement.portal.manage_keys import PlatformKeysPage
from openengagement.portal.manage_system import SystemPage
from openengagement.portal.manage_webhooks import WebhooksPage
from openengagement.portal.overview import Overview
from openengagement.portal.page_request import PageRequest
from openengagement.portal.password_reset_page import (
    NEW_PASSWORD_PATH,
    RESET_PATH,
    PasswordResetPage,
)
from openengagement.portal.password_sign_in import PasswordSignIn
from openengagement.portal.reference import DOCS_PATH, ApiReference
from openengagement.portal.second_factor import FACTOR_PATH, SecondFactorPage
from openengagement.portal.second_step import CODE_PATH
from openengagement.portal.security import SECURITY_PATH, SecurityPage
from openengagement.portal.sharing import SHARING_PATH, SharingPage
from openengagement.portal.sign_in import SignIn
from openengagement.portal.style_guide import PATH as STYLE_GUIDE_PATH
from openengagement.portal.style_guide import StyleGuide
from openengagement.portal.viewing import SHARED_PREFIX, Viewing

if TYPE_CHECKING:
    from openengagement.portal.oidc import OidcSignIn

Handler = Callable[[PageRequest], Response]
AsyncHandler = Callable[[PageRequest], Awaitable[Response]]
# The paths that belong to pages, besides `/`. Every route's path must begin with one of them.
PREFIXES: Final = (
    "/oauth/authorize",
    "/oauth/authenticate",
    "/sign-in",
    "/sign-out",
    "/settings/",
    "/portal",
    "/overview",
    "/explore",
    "/shared/",
    "/manage",
    DOCS_PATH,
    LANGUAGE_PATH,
    STYLE_GUIDE_PATH,
    STATIC_PREFIX,
)


class Load(Enum):
    """How a page loads the server. Each kind but `LIGHT` and `LONG` has a concurrency limit.

    The sign-in with a password has limits of its own (`portal.password_sign_in`).
    """

    LIGHT = "light"  # limited only by the threads of the pool
    LONG = "long"  # a long answer, which is compressed
    FIGURES = "figures"  # reads many counters; its long answer is compressed
    MEASURING = "measuring"  # measures the stores and the disk
    CALLS = "calls"  # sends a request to this server itself
    RECEIVER = "receiver"  # waits for the receiver of a webhook
    PROVIDER = "provider"  # waits for an OpenID Connect provider


@dataclass(frozen=True, slots=True)
class PageRoute:
    """One page. `path` may hold names in braces; a handler finds them in `PageRequest.params`.

    A plain handler runs in a thread, because it may block. A coroutine runs on the event loop.
    `late` answers a form whose CSRF token is no longer valid. Without it, the form is shown again,
    filled (`kept_forms`).
    """

    method: str
    path: str
    handler: Handler | AsyncHandler
    access: Access = Access.ANYONE
    load: Load = Load.LIGHT
    late: Handler | None = None


@dataclass(frozen=True, slots=True)
class FigurePages:
    """The handlers of the pages that authors read, and of the home page, which leads there."""

    home: Home
    overview: Overview
    explorer: Explorer
    charts: Charts
    viewing: Viewing


@dataclass(frozen=True, slots=True)
class DeveloperPages:
    """The handlers of the developer portal."""

    apps: DeveloperApps
    keys: AppKeys
    console: ApiConsole
    usage: AppUsagePage
    callback: CallbackTester


@dataclass(frozen=True, slots=True)
class ConsolePages:
    """The handlers of the manager's console."""

    apps: Console
    system: SystemPage
    keys: PlatformKeysPage
    accounts: AccountsPage
    webhooks: WebhooksPage


@dataclass(frozen=True, slots=True)
class SecurityPages:
    """The handlers of passwords and second factors."""

    security: SecurityPage
    factor: SecondFactorPage
    code: CodeSignIn
    reset: PasswordResetPage


@dataclass(frozen=True, slots=True)
class Handlers:
    """The handlers of the pages, by subject."""

    consent: Consent
    sign_in: SignIn
    password: PasswordSignIn
    account: AccountSettings
    sharing: SharingPage
    security: SecurityPages
    developer: DeveloperPages
    console: ConsolePages
    figures: FigurePages
    reference: ApiReference
    language: LanguageChoice
    oidc: "OidcSignIn | None" = None  # None when no provider is set
    style_guide: StyleGuide | None = None  # only in the sandbox


def build_page_routes(handlers: Handlers, *, managers: Access = Access.MANAGER) -> list[PageRoute]:
    """List every page. `managers` says which managers may see the pages of the console."""
    consent, sign_in, account = handlers.consent, handlers.sign_in, handlers.account
    speak = handlers.language.choose
    return [
        PageRoute("GET", "/", handlers.figures.home.show),
        PageRoute("GET", DOCS_PATH, handlers.reference.show, load=Load.LONG),
        PageRoute("POST", LANGUAGE_PATH, speak, late=speak),
        PageRoute("GET", "/oauth/authorize", consent.authorize),
        PageRoute("GET", "/oauth/authenticate", consent.authenticate),
        PageRoute("POST", "/oauth/authorize", consent.decide),
        PageRoute("GET", "/sign-in", sign_in.show),
        PageRoute("POST", "/sign-in", handlers.password.submit, late=sign_in.refuse_late),
        *(_oidc_routes(handlers.oidc, sign_in) if handlers.oidc else []),
        *_style_guide_routes(handlers.style_guide),
        PageRoute("POST", "/sign-out", sign_in.sign_out, late=sign_in.sign_out_late),
        PageRoute("GET", "/settings/apps", account.show, Access.SIGNED_IN),
        PageRoute("POST", "/settings/apps/revoke", account.revoke_app, Access.SIGNED_IN),
        PageRoute("POST", "/settings/sessions/revoke", account.end_session, Access.SIGNED_IN),
        *_security_routes(handlers.security),
        PageRoute("GET", SHARING_PATH, handlers.sharing.show, Access.SIGNED_IN),
        PageRoute("POST", SHARING_PATH, handlers.sharing.add, Access.SIGNED_IN),
        PageRoute("POST", f"{SHARING_PATH}/end", handlers.sharing.end, Access.SIGNED_IN),
        *_developer_routes(handlers.developer),
        *_figures_routes(handlers.figures),
        *_console_routes(handlers.console, managers),
    ]


def _style_guide_routes(guide: StyleGuide | None) -> list[PageRoute]:
    return [PageRoute("GET", STYLE_GUIDE_PATH, guide.show, load=Load.LONG)] if guide else []


def _oidc_routes(oidc: "OidcSignIn", sign_in: SignIn) -> list[PageRoute]:
    start, late = oidc.start, sign_in.refuse_late
    return [
        PageRoute("POST", "/sign-in/oidc", start, load=Load.PROVIDER, late=late),
        PageRoute("GET", "/sign-in/oidc/callback", oidc.finish, load=Load.PROVIDER),
    ]


def _security_routes(pages: SecurityPages) -> list[PageRoute]:
    security, factor, reset = pages.security, pages.factor, pages.reset
    return [
        PageRoute("GET", CODE_PATH, pages.code.show),
        PageRoute("POST", CODE_PATH, pages.code.submit),
        PageRoute("GET", RESET_PATH, reset.show),
        PageRoute("POST", RESET_PATH, reset.submit),
        PageRoute("GET", NEW_PASSWORD_PATH, reset.show_new),
        PageRoute("POST", NEW_PASSWORD_PATH, reset.set_new),
        PageRoute("GET", SECURITY_PATH, security.show, Access.SIGNED_IN),
        PageRoute("POST", f"{SECURITY_PATH}/password", security.change_password, Access.SIGNED_IN),
        PageRoute("GET", FACTOR_PATH, factor.show, Access.SIGNED_IN),
        PageRoute("POST", FACTOR_PATH, factor.turn_on, Access.SIGNED_IN),
        PageRoute("POST", f"{FACTOR_PATH}/off", factor.turn_off, Access.SIGNED_IN),
    ]


def _developer_routes(pages: DeveloperPages) -> list[PageRoute]:
    app, own = "/portal/apps/{app_id}", pages.apps.for_own_app
    return [
        PageRoute("GET", "/portal", pages.apps.show_apps, Access.SIGNED_IN),
        PageRoute("GET", "/portal/new", pages.apps.show_new, Access.SIGNED_IN),
        PageRoute("POST", "/portal/new", pages.apps.create, Access.SIGNED_IN),
        PageRoute("GET", app, own(pages.apps.show_settings), Access.SIGNED_IN),
        PageRoute("POST", app, own(pages.apps.act), Access.SIGNED_IN),
        PageRoute("GET", f"{app}/keys", own(pages.keys.show), Access.SIGNED_IN),
        PageRoute("POST", f"{app}/keys", own(pages.keys.act), Access.SIGNED_IN),
        PageRoute("GET", f"{app}/usage", own(pages.usage.show), Access.SIGNED_IN),
        PageRoute("GET", f"{app}/console", own(pages.console.show), Access.SIGNED_IN),
        PageRoute("POST", f"{app}/console", pages.console.send, Access.SIGNED_IN, Load.CALLS),
        PageRoute("GET", f"{app}/callback", own(pages.callback.show), Access.SIGNED_IN),
        PageRoute("POST", f"{app}/callback", pages.callback.test, Access.SIGNED_IN, Load.CALLS),
    ]


def _figures_routes(pages: FigurePages) -> list[PageRoute]:
    """List the pages of figures, of one's own and of those that others share."""
    handlers: dict[str, Handler] = {
        "/overview": pages.overview.show,
        "/overview.csv": pages.overview.export,
        "/explore": pages.explorer.show,
        "/explore/tweets.csv": pages.explorer.export,
        "/explore/compare": pages.charts.show,
        "/explore/compare.csv": pages.charts.export,
    }
    return [
        PageRoute("GET", start + path, whose(handler), Access.SIGNED_IN, Load.FIGURES)
        for start, whose in (("", pages.viewing.own), (SHARED_PREFIX, pages.viewing.shared))
        for path, handler in handlers.items()
    ]


def _console_routes(pages: ConsolePages, managers: Access) -> list[PageRoute]:
    app, apps = "/manage/apps/{app_id}", pages.apps
    return [
        PageRoute("GET", "/manage", apps.overview, managers),
        PageRoute("GET", app, apps.app, managers),
        PageRoute("POST", app, apps.decide, managers),
        PageRoute("GET", "/manage/usage", apps.usage, managers),
        PageRoute("GET", "/manage/usage.csv", apps.usage_file, managers),
        PageRoute("GET", "/manage/audit", apps.audit, managers),
        PageRoute("GET", "/manage/system", pages.system.show, managers, Load.MEASURING),
        PageRoute("GET", "/manage/keys", pages.keys.show, managers),
        PageRoute("POST", "/manage/keys", pages.keys.act, managers),
        PageRoute("GET", "/manage/webhooks", pages.webhooks.show, managers),
        PageRoute("POST", "/manage/webhooks", pages.webhooks.act, managers),
        PageRoute("POST", "/manage/webhooks/test", pages.webhooks.test, managers, Load.RECEIVER),
        PageRoute("GET", "/manage/accounts", pages.accounts.show, managers),
        PageRoute("POST", "/manage/accounts", pages.accounts.act, managers),
    ]
