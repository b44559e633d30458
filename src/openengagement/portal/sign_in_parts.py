"""What the pages of passwords and second factors share."""

from collections.abc import Callable
from dataclasses import dataclass

from openengagement.portal.browser_sessions import BrowserSessions
from openengagement.portal.one_time_secrets import OneTimeSecrets
from openengagement.portal.password_check import PasswordCheck
from openengagement.portal.password_reset import PasswordReset
from openengagement.portal.waiting_secret import WaitingSecrets
from openengagement.registry.registry import Registry
from openengagement.sign_in.second_factor import SecondFactors


@dataclass(frozen=True, slots=True)
class SignInParts:
    """The parts. `passwords` says whether people sign in with passwords here."""

    registry: Registry
    sessions: BrowserSessions
    check: PasswordCheck
    reset: PasswordReset
    factors: SecondFactors
    one_time_secrets: OneTimeSecrets
    waiting_secrets: WaitingSecrets
    passwords: bool
    now_s: Callable[[], float]
