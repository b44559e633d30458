"""Wire the parts of a server together; this is the only module that does so."""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from openengagement.api.account import AccountCalls
from openengagement.api.asgi import Api, Hooks
from openengagement.api.authentication import RequestAuthenticator
from openengagement.api.erasure import ErasureCalls
from openengagement.api.health import CLOCK_JUMPED, LOG_LOST, Checks, Health
from openengagement.api.insights import Insights, default_headers
from openengagement.api.oauth import OAuthCalls
from openengagement.api.platform import Platform
from openengagement.api.reference import Reference
from openengagement.api.routes import Calls, build_routes
from openengagement.api.scenarios import provoke
from openengagement.api.usage import UsageCalls
from openengagement.apps.app_form import check_app_form
from openengagement.apps.own_apps import OwnApps
from openengagement.apps.usage_meter import UsageMeter
from openengagement.auth.authenticate import Authenticator
from openengagement.auth.bearer_tokens import BearerTokens
from openengagement.auth.identity import VerifyCredentials
from openengagement.auth.last_used import LastUsed
from openengagement.auth.lookup import CredentialLookup
from openengagement.auth.rate_limit_status import RateLimitStatus
from openengagement.auth.three_legged_flow import ThreeLeggedFlow
from openengagement.auth.verifier import OAuthVerifier
from openengagement.clock import Clock, JumpWatch
from openengagement.data_folder import decrypts_any, open_data_folder
from openengagement.files import has_room, is_writable
from openengagement.housekeeping import Housekeeping, expire_limits, run_chore
from openengagement.ingest.registrar import Registrar
from openengagement.ingest.sources.counting_listener import is_hung, is_listening, is_log_lost
from openengagement.ingest.sources.worker_uploads import WorkerUploads
from openengagement.limits.contract import MINUTE_S
from openengagement.limits.opening import open_limits
from openengagement.measuring import Measuring
from openengagement.portal.account import AccountSettings
from openengagement.portal.account_figures import AccountFigures
from openengagement.portal.api_figures import ApiFigures
from openengagement.portal.browser_sessions import BrowserSessions
from openengagement.portal.charts import Charts
from openengagement.portal.consent import Consent
from openengagement.portal.developer import DeveloperApps
from openengagement.portal.explorer import Explorer, newest_tweet
from openengagement.portal.home import Home
from openengagement.portal.keys import AppKeys
from openengagement.portal.manage import Console
from openengagement.portal.one_time_secrets import OneTimeSecrets
from openengagement.portal.overview import Overview
from openengagement.portal.pages import Pages
from openengagement.portal.password_sign_in import PasswordSignIn
from openengagement.portal.reference import ApiReference
from openengagement.portal.rendering import PageRenderer
from openengagement.portal.routes import PREFIXES, FigurePages, Handlers, build_page_routes
from openengagement.portal.series import CHART_GROUPINGS
from openengagement.portal.sign_in import SignIn, SignInMethods
from openengagement.portal.tweet_views import TweetViews
from openengagement.query import Query
from openengagement.settings import Settings
from openengagement.sign_in.passwords import Passwords
from openengagement.stores.contract import Compacts, StoreFault, Stores
from openengagement.tuning import lower_priority

if TYPE_CHECKING:
    from openengagement.portal.oidc import OidcSignIn


class _Shared:
    """The objects that both API calls and pages use."""

    def __init__(self, data: Path, settings: Settings, *, clock: Clock) -> None:
        self.data = data
        self.settings = settings
        self.clock = clock
        self.now_s = clock.now_s
        self.metrics_now_s: Callable[[], float] = clock.now_s
        self.folder = open_data_folder(data, settings, clock=clock)
        self.limits = open_limits(data, settings.registry)
        self.pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="work")
        # Credentials have threads of their own, so that they do not wait for large answers.
        self.lookups = ThreadPoolExecutor(settings.threads, thread_name_prefix="lookup")
        registry, keyring = self.folder.registry, self.folder.keyring
        self.lookup = CredentialLookup(registry, keyring)
        self.last_used = LastUsed(registry, now_s=self.now_s)
        self.meter = UsageMeter(registry.usage, now_s=self.now_s)
        self.verifier = OAuthVerifier(self.lookup, self.limits, settings=settings, now_s=self.now_s)
        self.flow = ThreeLeggedFlow(
            self.verifier,
            registry,
            keyring=keyring,
            lenient=settings.lenient_access_token_signature,
            now_s=self.now_s,
        )


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How a sandbox differs from a server: it performs scenarios (`api.scenarios`).

    For metrics its time stands still at `now_s` (Unix seconds), unless that is None. Signatures and
    rate limits follow the real clock, because clients do.
    """

    now_s: int | None = None


def build_api(
    data: Path, settings: Settings, *, clock: Clock, counting: str, sandbox: Sandbox | None = None
) -> Api:
    """Build the server of a data folder as an ASGI application.

    `counting` is the address of the counting process (`ingest.sources.counting_socket`).
    """
    shared = _Shared(data, settings, clock=clock)
    if sandbox is not None and (frozen_s := sandbox.now_s) is not None:
        shared.metrics_now_s = lambda: frozen_s
    for engine in shared.folder.stores.engines:
        if isinstance(engine, Compacts):
            engine.start_compaction()
    slow_pool = ThreadPoolExecutor(  # one more thread is kept for known browsers
        settings.sign_in_threads + 1, thread_name_prefix="password", initializer=lower_priority
    )
    calls = _build_calls(shared, counting)
    flushes = (shared.last_used.flush, shared.meter.flush)
    expire = partial(expire_limits, shared.limits, settings.timestamp_window_s, clock=clock)
    run_chore(expire)  # so that the clock is noted before the first nonce is used
    measuring = Measuring(
        data, shared.folder, lookup=shared.lookup, limits=shared.limits, clock=clock
    )
    housekeeping = Housekeeping([expire, *flushes, measuring.measure, calls.health.measure])

    async def stop() -> None:
        await housekeeping.stop()
        calls.platform.close()
        calls.erasure.close()
        calls.health.close()
        slow_pool.shutdown(cancel_futures=True)
        shared.lookups.shutdown()
        shared.pool.shutdown()
        for flush in flushes:
            run_chore(flush)
        shared.limits.close()
        shared.folder.close()

    pages = _build_pages(shared, slow_pool, reference=calls.reference)
    routes = build_routes(calls, pages, page_prefixes=PREFIXES)
    calls.reference.routes = routes.routes
    if sandbox is not None:
        routes = routes.with_each(partial(provoke, now_s=clock.now_s))
    return Api(
        routes,
        settings=settings,
        pool=shared.pool,
        default_headers=partial(default_headers, settings.rate_limit_per_minute, clock.now_s),
        hooks=Hooks(housekeeping.start, stop, calls.health.note_damage),
    )


def _build_calls(shared: _Shared, counting: str) -> Calls:
    """Build the handlers of the API calls."""
    folder, settings, now_s = shared.folder, shared.settings, shared.now_s
    registry, lookup, verifier = folder.registry, shared.lookup, shared.verifier
    limits, pool = shared.limits, shared.pool
    note_used = shared.last_used.note
    authenticator = Authenticator(
        lookup, limits, settings=settings, note_used=note_used, now_s=now_s
    )
    lookups = shared.lookups if authenticator.blocking else None
    requests = RequestAuthenticator(authenticator, lookups)
    query = Query(
        folder.stores,
        lookup.read_protected,
        blocking=lookup.blocking,
        settings=settings,
        now_s=shared.metrics_now_s,
    )
    uploads = WorkerUploads(
        Registrar(registry, folder.stores.tweets, now_s=now_s),
        counting_address=counting,
        settings=settings,
        now_s=now_s,
    )
    return Calls(
        insights=Insights(requests, query, meter=shared.meter, settings=settings, pool=pool),
        oauth=OAuthCalls(
            shared.flow,
            BearerTokens(verifier, lookup, registry=registry, keyring=folder.keyring),
            body_max_bytes=settings.body_max_bytes,
            pool=pool,
        ),
        platform=Platform(
            requests,
            uploads.handle,
            delete_tweet=folder.stores.tweets.delete_tweet,
            settings=settings,
        ),
        erasure=ErasureCalls(requests, folder.eraser(now_s=now_s)),
        usage=UsageCalls(requests, registry.usage, now_s=now_s, pool=pool),
        account=AccountCalls(
            VerifyCredentials(verifier, registry, limits=limits, note_used=note_used, now_s=now_s),
            RateLimitStatus(authenticator, limits, settings=settings, now_s=now_s),
            body_max_bytes=settings.body_max_bytes,
            pool=pool,
        ),
        health=_build_health(shared, counting),
        reference=Reference(groupings_max=settings.groupings_max),
    )


def _build_health(shared: _Shared, counting: str) -> Health:
    """Build the health check. It writes to the limits, because every signed request does."""
    registry = shared.folder.registry
    keyring = shared.folder.keyring
    limits, now_s = shared.limits, shared.now_s
    # After a jump, clients' timestamps are refused until they, or the clock, are right again.
    clock_watch = JumpWatch(shared.clock, kept_s=shared.settings.timestamp_window_s)
    return Health(
        {
            "the socket of the counting process is gone": partial(is_listening, counting),
            "the counting process does not answer": lambda: not is_hung(counting),
            **_build_store_checks(shared.folder.stores),
            "the key file cannot be used": keyring.verify_file,
            "the keys cannot decrypt the credentials": partial(decrypts_any, registry, keyring),
            "the registry cannot be read": partial(registry.accounts.read_protected, [1]),
            "the limits cannot be written": lambda: limits.count(
                b"health", {MINUTE_S: 0}, now_s=now_s()
            ),
            "the disk of the data folder is full": partial(has_room, shared.data),
            "the disk of the data folder is read-only": partial(is_writable, shared.data),
        },
        ready_checks={
            CLOCK_JUMPED: clock_watch.is_steady,
            LOG_LOST: lambda: not is_log_lost(counting),
        },
    )


def _build_store_checks(stores: Stores) -> Checks:
    """Build the checks of the stores. The first one asks, and the others look at the answer."""
    found: set[StoreFault] = set()

    def ask() -> None:
        found.clear()
        for engine in stores.engines:
            found.update(engine.ping())

    return {
        "the counters cannot be read": ask,
        **{str(fault): partial(_lacks, found, fault) for fault in StoreFault},
    }


def _lacks(found: Collection[StoreFault], fault: StoreFault) -> bool:
    return fault not in found


def _build_pages(shared: _Shared, slow_pool: ThreadPoolExecutor, *, reference: Reference) -> Pages:
    """Build the pages."""
    registry, keyring, settings = shared.folder.registry, shared.folder.keyring, shared.settings
    tweets, now_s = shared.folder.stores.tweets, shared.now_s
    sessions = BrowserSessions(registry, keyring, days=settings.session_days, now_s=now_s)
    renderer = PageRenderer(settings.platform_name, sessions, image_hosts=settings.image_host_names)
    sign_in = SignIn(
        renderer,
        sessions,
        flow=shared.flow,
        methods=SignInMethods(settings.password_sign_in, settings.oidc_shown_name),
    )
    own_apps = OwnApps(
        registry,
        keyring,
        apps_max=settings.apps_per_account_max,
        check_form=partial(check_app_form, schemes=settings.allowed_callback_schemes),
        now_s=now_s,
    )
    secrets = OneTimeSecrets(keyring, now_s=now_s)
    default_limit = settings.rate_limit_per_minute
    handlers = Handlers(
        consent=Consent(renderer, sessions, flow=shared.flow),
        sign_in=sign_in,
        password=PasswordSignIn(
            sign_in,
            Passwords(registry, shared.limits, now_s=now_s),
            pool=shared.pool,
            slow_pool=slow_pool,
            strangers_threads=settings.sign_in_threads,
        ),
        account=AccountSettings(renderer, sessions, registry=registry),
        developer=DeveloperApps(
            renderer, own_apps, one_time_secrets=secrets, default_per_minute=default_limit
        ),
        keys=AppKeys(
            renderer, own_apps, one_time_secrets=secrets, newest_tweet=partial(newest_tweet, tweets)
        ),
        console=Console(renderer, registry, default_limit=default_limit, now_s=now_s),
        figures=_build_figure_pages(shared, renderer, own_apps=own_apps),
        oidc=_build_oidc(shared, renderer, sign_in=sign_in),
        reference=ApiReference(renderer, lambda: reference.document),
    )
    return Pages(
        renderer,
        sessions,
        routes=build_page_routes(handlers),
        pool=shared.pool,
        body_max_bytes=settings.body_max_bytes,
    )


def _build_figure_pages(
    shared: _Shared, renderer: PageRenderer, *, own_apps: OwnApps
) -> FigurePages:
    """Build the pages that authors read."""
    settings, stores, now_s = shared.settings, shared.folder.stores, shared.metrics_now_s
    tweets, figures = stores.tweets, _build_figures(shared)
    views = TweetViews(
        tweets, url_template=settings.tweet_url, image_hosts=settings.image_host_names
    )
    account_figures = AccountFigures(
        stores,
        shared.lookup.read_protected,
        now_s=now_s,
        floor_s=settings.historical_floor_s,
    )
    return FigurePages(
        home=Home(renderer, tweets=tweets, apps=own_apps),
        overview=Overview(renderer, account_figures, views=views),
        explorer=Explorer(renderer, figures, tweets=tweets, views=views),
        charts=Charts(renderer, figures, tweets=tweets, views=views, now_s=now_s),
    )


def _build_figures(shared: _Shared) -> ApiFigures:
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


def _build_oidc(shared: _Shared, renderer: PageRenderer, *, sign_in: SignIn) -> "OidcSignIn | None":
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
