"""The owner of an access token: `account/verify_credentials` (api.md 4.7)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from openengagement.auth.verifier import OAuthVerifier
from openengagement.engagement.permissions import AccessLevel
from openengagement.errors import AccessTokenNotFound, AppSuspended, RateLimited
from openengagement.http.message import Message
from openengagement.limits.contract import Limits, RateWindow
from openengagement.registry.accounts import Account
from openengagement.registry.grants import AccessToken
from openengagement.registry.registry import Registry

QUARTER_S: Final = 15 * 60
PER_QUARTER: Final = 75


@dataclass(frozen=True, slots=True)
class Identity:
    """The owner of an access token and the token's access level.

    `window` is the rate limit of this call.
    """

    account: Account
    access_level: AccessLevel
    window: RateWindow


def identity_subject(token: AccessToken) -> bytes:
    """Return the subject under which a token's calls to verify_credentials are counted.

    A token begins with the account's id, which the limits must not keep after an erasure.
    """
    return b"identity " + hashlib.blake2b(token.token.encode(), digest_size=16).digest()


class VerifyCredentials:
    """Answers verify_credentials, at most PER_QUARTER times per token in QUARTER_S seconds."""

    def __init__(
        self,
        verifier: OAuthVerifier,
        registry: Registry,
        *,
        limits: Limits,
        note_used: Callable[[str], None],
        now_s: Callable[[], float],
    ) -> None:
        self._verifier = verifier
        self._registry = registry
        self._limits = limits
        self._note_used = note_used
        self._now_s = now_s

    def identify(self, message: Message) -> Identity:
        """Verify a call that is signed with an access token; return the token's owner.

        Raises:
            AuthenticationError, UserContextRequired, RateLimited
        """
        verified = self._verifier.verify_call(message, user=True)
        if verified.consumer.app.suspended:
            raise AppSuspended
        assert verified.user is not None
        token = verified.user.token
        limits = {QUARTER_S: PER_QUARTER}
        windows = self._limits.count(identity_subject(token), limits, now_s=self._now_s())
        if windows[0].exceeded:
            raise RateLimited
        account = self._registry.accounts.read_account(token.account_id)
        if account is None:
            raise AccessTokenNotFound
        self._note_used(token.token)
        return Identity(account, token.access_level, windows[0])
