"""Wire the parts of a server together. Only this module knows every part, with its helpers.

`server_parts` has what API calls and pages share, `server_pages` wires the pages.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
from openengagement.auth.authenticate import Authenticator
from openengagement.auth.bearer_tokens import BearerTokens
from openengagement.auth.identity import VerifyCredentials
from openengagement.auth.rate_limit_status import RateLimitStatus
from openengagement.clock import Clock, JumpWatch
from openengagement.data_folder import decrypts_any
from openengagement.errors import StoreDamaged
from openengagement.files import has_room, is_writable
from openengagement.housekeeping import Housekeeping, expire_limits, run_chore
from openengagement.ingest.registrar import Registrar
from openengagement.ingest.sources.counting_listener import is_hung, is_listening, is_log_lost
from openengagement.ingest.sources.worker_uploads import WorkerUploads
from openengagement.limits.contract import MINUTE_S
from openengagement.measuring import Measuring
from openengagement.notifications.delivering import Deliverer
from openengagement.notifications.sending import Sender
from openengagement.portal.routes import PREFIXES
from openengagement.query import Query
from openengagement.server_pages import build_pages
from openengagement.server_parts import Shared
from openengagement.settings import Settings
from openengagement.stores.contract import Compacts, StoreFault, Stores
from openengagement.tracing.spans import trace_batches, trace_stores
from openengagement.tuning import lower_priority


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
    shared = Shared(data, settings, clock=clock)
    if sandbox is not None and (frozen_s := sandbox.now_s) is not None:
        shared.metrics_now_s = lambda: frozen_s
    for engine in shared.folder.stores.engines:
        if isinstance(engine, Compacts):
            engine.start_compaction()
    slow_pool = ThreadPoolExecutor(  # one more thread is kept for known browsers
        settings.sign_in_threads + 1, thread_name_prefix="password", initializer=lower_priority
    )
    calls = _build_calls(shared, counting)
    flushes = (shared.last_used.flush, shared.usage_writer.write, shared.noticing.flush_damage)
    expire = partial(expire_limits, shared.limits, settings.timestamp_window_s, clock=clock)
    run_chore(expire)  # so that the clock is noted before the first nonce is used
    housekeeping = _build_housekeeping(shared, calls, chores=[expire, *flushes])

    async def stop() -> None:
        await housekeeping.stop()
        calls.platform.close()
        calls.erasure.close()
        calls.health.close()
        slow_pool.shutdown(cancel_futures=True)
        if shared.letters:
            shared.letters.close()
        shared.lookups.shutdown()
        shared.pool.shutdown()
        for flush in flushes:
            run_chore(flush)
        shared.limits.close()
        shared.folder.close()

    def note_damage(error: StoreDamaged) -> None:
        calls.health.note_damage(error)
        shared.damage.note(error)

    pages = build_pages(shared, slow_pool, reference=calls.reference, sandbox=sandbox is not None)
    routes = build_routes(calls, pages, page_prefixes=PREFIXES)
    calls.reference.routes = routes.routes
    if sandbox is not None:
        routes = routes.with_each(partial(provoke, now_s=clock.now_s))
    api = shared.inner_calls.application = Api(
        routes,
        settings=settings,
        pool=shared.pool,
        default_headers=partial(default_headers, settings.rate_limit_per_minute, clock.now_s),
        hooks=Hooks(housekeeping.start, stop, note_damage, pages.render_failure),
    )
    return api


def _build_housekeeping(
    shared: Shared, calls: Calls, *, chores: Sequence[Callable[[], object]]
) -> Housekeeping:
    """Build the chores: those given, and those that measure."""
    measuring = Measuring(
        shared.data, shared.folder, lookup=shared.lookup, limits=shared.limits, clock=shared.clock
    )
    measures = (measuring.measure, calls.health.measure, shared.rate.sample)
    notices = (shared.noticing.notice_contracts, shared.noticing.forget)
    return Housekeeping([*chores, *measures, *notices], _build_deliverer(shared).run)


def _build_deliverer(shared: Shared) -> Deliverer:
    """Build what delivers notifications."""
    registry, keyring, settings = shared.folder.registry, shared.folder.keyring, shared.settings
    make_sender = partial(Sender, registry, keyring, settings=settings, now_s=shared.now_s)
    by_mail = settings.mail_server is not None
    return Deliverer(registry, make_sender, by_mail=by_mail, now_s=shared.now_s)


def _build_calls(shared: Shared, counting: str) -> Calls:
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
        trace_stores(folder.stores),
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
            trace_batches(uploads.handle),
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


def _build_health(shared: Shared, counting: str) -> Health:
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
