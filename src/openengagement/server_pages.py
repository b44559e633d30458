"""Wire the pages together, for `openengagement.server`."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from openengagement.api.reference import Reference
from openengagement.apps.app_form import check_app_form
from openengagement.apps.own_apps import OwnApps
from openengagement.apps.own_calls import OwnCalls
from openengagement.engagement.months import month_of
from openengagement.language.negotiation import load_languages
from openengagement.portal.access import Access
from openengagement.portal.account import AccountSettings
from openengagement.portal.account_figures import AccountFigures
from openengagement.portal.api_console import ApiConsole
from openengagement.portal.api_figures import ApiFigures
from openengagement.portal.app_usage import AppUsagePage, read_minute
from openengagement.portal.browser_sessions import BrowserSessions
from openengagement.portal.callback_tester import CallbackTester
from openengagement.portal.charts import Charts
from openengagement.portal.code_sign_in import CodeSignIn
from openengagement.portal.consent import Consent
from openengagement.portal.developer import DeveloperApps
from openengagement.portal.explorer import Explorer, newest_tweet
from openengagement.portal.home import Home
from openengagement.portal.kept_forms import KeptForms
from openengagement.portal.keys import AppKeys
from openengagement.portal.language_choice import LanguageChoice
from openengagement.portal.manage import Console
from openengagement.portal.manage_accounts import AccountsPage
from openengagement.portal.manage_keys import PlatformKeysPage
from openengagement.portal.manage_system import SystemPage
from openengagement.portal.manage_webhooks import WebhooksPage
from openengagement.portal.one_time_secrets import OneTimeSecrets
from openengagement.portal.overview import Overview
from openengagement.portal.pages import Pages
from openengagement.portal.password_check import PasswordCheck
from openengagement.portal.password_reset import PasswordReset, ResetMail
from openengagement.portal.password_reset_page import PasswordResetPage
from openengagement.portal.password_sign_in import PasswordSignIn
from openengagement.portal.reference import ApiReference
from openengagement.portal.rendering import PageRenderer
from openengagement.portal.routes import (
    ConsolePages,
    DeveloperPages,
    FigurePages,
    Handlers,
    SecurityPages,
    build_page_routes,
)
from openengagement.portal.second_factor import SecondFactorPage
from openengagement.portal.second_step import SecondStep
from openengagement.portal.security import SecurityPage
from openengagement.portal.series import CHART_GROUPINGS
from openengagement.portal.sharing import SharingPage
from openengagement.portal.sign_in import SignIn, SignInMethods
from openengagement.portal.sign_in_parts import SignInParts
from openengagement.portal.style_guide import StyleGuide
from openengagement.portal.tweet_views import TweetViews
from openengagement.portal.viewing import Viewing
from openengagement.portal.waiting_secret import WaitingSecrets
from openengagement.query import Query
from openengagement.server_parts import Shared
from openengagement.sign_in.passwords import Passwords
from openengagement.sign_in.second_factor import SecondFactors

if TYPE_CHECKING:
    from openengagement.portal.oidc import OidcSignIn


def build_pages(
    shared: Shared, slow_pool: ThreadPoolExecutor, *, reference: Reference, sandbox: bool
) -> Pages:
    """Build the pages. Only the sandbox has a style guide."""
    registry, settings = shared.folder.registry, shared.settings
    sessions = BrowserSessions(
        registry, shared.folder.keyring, days=settings.session_days, now_s=shared.now_s
    )
    renderer = _build_renderer(shared, sessions)
    kept_forms = KeptForms(
        shared.folder.keyring,
        render_note=partial(renderer.render_part, "_kept_form"),
        header_max_bytes=settings.header_max_bytes,
        now_s=shared.now_s,
    )
    parts = _build_sign_in_parts(shared, sessions, slow_pool=slow_pool)
    step = SecondStep(registry, shared.folder.keyring, factors=parts.factors, now_s=shared.now_s)
    sign_in = SignIn(
        renderer,
        sessions,
        kept_forms=kept_forms,
        flow=shared.flow,
        methods=SignInMethods(settings.password_sign_in, settings.oidc_shown_name),
        second_step=step,
    )
    own_apps = _build_own_apps(shared)
    handlers = Handlers(
        consent=Consent(renderer, sessions, flow=shared.flow),
        sign_in=sign_in,
        password=PasswordSignIn(sign_in, parts.check),
        security=_build_security_pages(renderer, sign_in, parts=parts),
        account=AccountSettings(renderer, sessions, registry=registry),
        sharing=_build_sharing(shared, renderer),
        developer=_build_developer_pages(shared, renderer, own_apps=own_apps),
        console=_build_console_pages(shared, renderer),
        figures=_build_figure_pages(shared, renderer, own_apps=own_apps),
        oidc=_build_oidc(shared, renderer, sign_in=sign_in),
        reference=ApiReference(renderer, lambda: reference.document),
        language=LanguageChoice(renderer.languages),
        style_guide=StyleGuide(renderer, now_s=shared.now_s) if sandbox else None,
    )
    proven = settings.managers_need_second_factor
    managers = Access.PROVEN_MANAGER if proven else Access.MANAGER
    return Pages(
        renderer,
        sessions,
        kept_forms=kept_forms,
        routes=build_page_routes(handlers, managers=managers),
        pool=shared.pool,
        body_max_bytes=settings.body_max_bytes,
    )


def _build_renderer(shared: Shared, sessions: BrowserSessions) -> PageRenderer:
    settings = shared.settings
    languages = load_languages(settings.page_languages, settings.platform_nouns)
    return PageRenderer(
        settings.look,
        sessions,
        languages=languages,
        image_hosts=settings.image_host_names,
        count_waiting=shared.folder.registry.app_list.count_waiting,
    )


def _build_own_apps(shared: Shared) -> OwnApps:
    settings = shared.settings
    return OwnApps(
        shared.folder.registry,
        shared.folder.keyring,
        apps_max=settings.apps_per_account_max,
        check_form=partial(check_app_form, schemes=settings.allowed_callback_schemes),
        now_s=shared.now_s,
    )


def _build_sharing(shared: Shared, renderer: PageRenderer) -> SharingPage:
    return SharingPage(
        renderer,
        shared.folder.registry.shares,
        limits=shared.limits,
        most=shared.settings.shares_per_account_max,
        now_s=shared.now_s,
    )


def _build_sign_in_parts(
    shared: Shared, sessions: BrowserSessions, *, slow_pool: ThreadPoolExecutor
) -> SignInParts:
    """Build what the pages of passwords and second factors share."""
    registry, keyring, settings = shared.folder.registry, shared.folder.keyring, shared.settings
    now_s, platform = shared.now_s, settings.platform_name
    mail = ResetMail(shared.letters, settings.public_url, platform, settings.password_reset_minutes)
    return SignInParts(
        registry=registry,
        sessions=sessions,
        check=PasswordCheck(
            sessions,
            Passwords(registry, shared.limits, now_s=now_s),
            pool=shared.pool,
            slow_pool=slow_pool,
            strangers_threads=settings.sign_in_threads,
        ),
        reset=PasswordReset(registry, shared.limits, mail=mail, now_s=now_s),
        factors=SecondFactors(
            registry, keyring, limits=shared.limits, issuer=platform, now_s=now_s
        ),
        one_time_secrets=OneTimeSecrets(keyring, now_s=now_s),
        waiting_secrets=WaitingSecrets(keyring, now_s=now_s),
        passwords=settings.password_sign_in,
        now_s=now_s,
    )


def _build_security_pages(
    renderer: PageRenderer, sign_in: SignIn, *, parts: SignInParts
) -> SecurityPages:
    """Build the pages of passwords and second factors."""
    security = SecurityPage(renderer, parts)
    return SecurityPages(
        security=security,
        factor=SecondFactorPage(renderer, security, parts=parts),
        code=CodeSignIn(renderer, sign_in, step=sign_in.second_step),
        reset=PasswordResetPage(renderer, parts),
    )


def _build_developer_pages(
    shared: Shared, renderer: PageRenderer, *, own_apps: OwnApps
) -> DeveloperPages:
    """Build the developer portal."""
    registry, keyring, settings = shared.folder.registry, shared.folder.keyring, shared.settings
    now_s, usage = shared.now_s, registry.usage
    secrets = OneTimeSecrets(keyring, now_s=now_s)
    newest = partial(newest_tweet, shared.folder.stores.tweets)
    apps = DeveloperApps(
        renderer,
        own_apps,
        one_time_secrets=secrets,
        default_per_minute=settings.rate_limit_per_minute,
        newest_tweet=newest,
    )
    calls: dict[str, Any] = {
        "own_calls": OwnCalls(registry, keyring, now_s=now_s),
        "inner_calls": shared.inner_calls,
        "pool": shared.pool,
    }
    return DeveloperPages(
        apps=apps,
        keys=AppKeys(
            renderer,
            own_apps,
            one_time_secrets=secrets,
            newest_tweet=newest,
            count_answered=lambda app_id: usage.count_answered(app_id, month_of(now_s())),
        ),
        console=ApiConsole(renderer, apps, **calls),
        usage=AppUsagePage(
            renderer,
            own_apps,
            usage=usage,
            read_window=partial(read_minute, limits=shared.limits, settings=settings, now_s=now_s),
            now_s=now_s,
        ),
        callback=CallbackTester(renderer, apps, **calls),
    )


def _build_console_pages(shared: Shared, renderer: PageRenderer) -> ConsolePages:
    """Build the manager's console."""
    folder, now_s = shared.folder, shared.now_s
    registry = folder.registry
    default_limit = shared.settings.rate_limit_per_minute
    one_time_secrets = OneTimeSecrets(folder.keyring, now_s=now_s)
    return ConsolePages(
        apps=Console(renderer, registry, default_limit=default_limit, now_s=now_s),
        system=SystemPage(renderer, shared.data, folder=folder, rate=shared.rate, now_s=now_s),
        keys=PlatformKeysPage(
            renderer,
            registry.platform_keys,
            one_time_secrets=one_time_secrets,
            now_s=now_s,
        ),
        accounts=AccountsPage(renderer, registry, now_s=now_s),
        webhooks=WebhooksPage(
            renderer,
            folder,
            settings=shared.settings,
            one_time_secrets=one_time_secrets,
            now_s=now_s,
        ),
    )


def _build_figure_pages(
    shared: Shared, renderer: PageRenderer, *, own_apps: OwnApps
) -> FigurePages:
    """Build the pages that authors read."""
    settings, stores, now_s = shared.settings, shared.folder.stores, shared.metrics_now_s
    tweets, figures = stores.tweets, _build_figures(shared)
    shares = shared.folder.registry.shares
    views = TweetViews(
        tweets, url_template=settings.tweet_url, image_hosts=settings.image_host_names
    )
    account_figures = AccountFigures(
        stores, shared.lookup.read_protected, now_s=now_s, floor_s=settings.historical_floor_s
    )
    return FigurePages(
        home=Home(renderer, tweets=tweets, apps=own_apps, shares=shares),
        overview=Overview(renderer, account_figures, views=views),
        explorer=Explorer(renderer, figures, account_figures=account_figures, views=views),
        charts=Charts(renderer, figures, tweets=tweets, views=views, now_s=now_s),
        viewing=Viewing(renderer, shares, now_s=shared.now_s),
    )


def _build_figures(shared: Shared) -> ApiFigures:
    """Build the source of the figures on an author's own pages."""
    protected, settings = shared.lookup.read_protected, shared.settings
    # A chart needs three groupings, even if the operator allows clients fewer.
    settings = replace(settings, groupings_max=max(settings.groupings_max, CHART_GROUPINGS))
    query = Query(
        shared.folder.stores,
        protected,
        blocking=shared.lookup.blocking,
        settings=settings,
        now_s=shared.metrics_now_s,
    )
    return ApiFigures(query, protected)


def _build_oidc(shared: Shared, renderer: PageRenderer, *, sign_in: SignIn) -> "OidcSignIn | None":
    """Build the sign-in through an OpenID Connect provider; None if no provider is set."""
    settings, now_s = shared.settings, shared.now_s
    if not settings.oidc_issuer:
        return None
    # Without these imports, a worker that needs no provider starts a quarter of a second earlier.
    from openengagement.portal.oidc import OidcSignIn  # noqa: PLC0415
    from openengagement.sign_in.openid import RelyingParty  # noqa: PLC0415
    from openengagement.sign_in.provider import ClientRegistration, Provider  # noqa: PLC0415

    registration = ClientRegistration(
        settings.oidc_issuer, settings.oidc_client_id, settings.oidc_secret, settings.oidc_scope
    )
    relying_party = RelyingParty(
        Provider(registration, now_s=now_s),
        shared.folder.registry,
        keyring=shared.folder.keyring,
        claim=settings.oidc_account_claim,
        now_s=now_s,
    )
    return OidcSignIn(renderer, sign_in=sign_in, relying_party=relying_party, pool=shared.pool)
