"""The objects that both API calls and pages use."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from openengagement.apps.usage_meter import UsageMeter, UsageWriter
from openengagement.auth.last_used import LastUsed
from openengagement.auth.lookup import CredentialLookup
from openengagement.auth.three_legged_flow import ThreeLeggedFlow
from openengagement.auth.verifier import OAuthVerifier
from openengagement.clock import Clock
from openengagement.damage import FoundDamage
from openengagement.data_folder import open_data_folder
from openengagement.limits.opening import open_limits
from openengagement.notifications.letters import Letters
from openengagement.notifications.noticing import Noticing
from openengagement.portal.inner_calls import InnerCalls
from openengagement.portal.manage_system import IngestionRate
from openengagement.settings import Settings


class Shared:
    """The objects that both API calls and pages use."""

    def __init__(self, data: Path, settings: Settings, *, clock: Clock) -> None:
        self.data = data
        self.settings = settings
        self.clock = clock
        self.now_s = clock.now_s
        self.metrics_now_s: Callable[[], float] = clock.now_s
        self.damage = FoundDamage()
        on_damage = self.damage.note
        self.folder = open_data_folder(data, settings, clock=clock, on_damage=on_damage)
        self.limits = open_limits(data, settings.registry)
        self.pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="work")
        # Credentials have threads of their own, so that they do not wait for large answers.
        self.lookups = ThreadPoolExecutor(settings.threads, thread_name_prefix="lookup")
        registry, keyring = self.folder.registry, self.folder.keyring
        self.lookup = CredentialLookup(registry, keyring)
        self.last_used = LastUsed(registry, now_s=self.now_s)
        self.meter = UsageMeter(registry.usage, now_s=self.now_s)
        self.usage_writer = UsageWriter(self.meter, limits=self.limits, database=registry.database)
        self.noticing = Noticing(registry, self.damage, now_s=self.now_s)
        self.inner_calls = InnerCalls()
        self.letters: Letters | None = None
        if server := settings.mail_server:
            self.letters = Letters(server, settings.mail_from, platform=settings.platform_name)
        self.rate = IngestionRate(self.now_s)
        self.verifier = OAuthVerifier(self.lookup, self.limits, settings=settings, now_s=self.now_s)
        self.flow = ThreeLeggedFlow(
            self.verifier,
            registry,
            keyring=keyring,
            lenient=settings.lenient_access_token_signature,
            now_s=self.now_s,
        )
