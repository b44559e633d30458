"""A new password by mail: a link that works once and soon expires."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from openengagement.auth.credentials import draw_cookie, hash_token
from openengagement.language.current import current, gettext_noop
from openengagement.language.current import gettext as _
from openengagement.language.languages import Language
from openengagement.limits.contract import Limits
from openengagement.notifications.letters import Letter, Letters
from openengagement.registry.password_resets import Receiver
from openengagement.registry.registry import Registry
from openengagement.sign_in.passwords import PER_NETWORK, TooManyGuesses

WINDOW_S: Final = 3600
PER_ACCOUNT: Final = 5
_LINK: Final = gettext_noop("""\
Somebody, probably you, asked for a new password of @%(name)s on %(platform)s. Open this link to \
set it:

%(url)s

The link works once, for %(minutes)s minutes. If you did not ask for it, ignore this mail: your \
password stays as it is.
""")
_SUBJECT: Final = gettext_noop("Set a new password")
_CHANGED: Final = gettext_noop("""\
The password of @%(name)s on %(platform)s was changed on %(at)s. Every other session has ended, \
and apps must be authorized again.

If you did not change it, set a new one at once:

%(url)s

Then tell the operator of %(platform)s.
""")


@dataclass(frozen=True, slots=True)
class ResetMail:
    """How mail about passwords is sent.

    `letters` is None, and nothing is sent, if the operator has not set up mail. `public_url` is the
    address of this server. It is a setting: the Host header of a request may name any server. A
    link is valid for `minutes`.
    """

    letters: Letters | None
    public_url: str
    platform: str
    minutes: int


class PasswordReset:
    """Sends links and messages about passwords, and sets passwords with links."""

    def __init__(
        self,
        registry: Registry,
        limits: Limits,
        *,
        mail: ResetMail,
        now_s: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._limits = limits
        self._letters = mail.letters
        self._public_url = mail.public_url.rstrip("/")
        self._platform = mail.platform
        self.minutes = mail.minutes
        self._now_s = now_s

    @property
    def is_available(self) -> bool:
        """Whether links can be sent."""
        return self._letters is not None and bool(self._public_url)

    def request(self, screen_name: str, networks: Sequence[str]) -> None:
        """Send a link if the account exists and may have one. It takes the same time if not.

        The account is looked up in the background, together with the sending.

        Raises:
            TooManyGuesses: too many links were asked for, for this name or from these networks.
        """
        assert self._letters is not None, "the page offers no link without mail"
        name = screen_name.casefold()[:200]
        limits = {
            ("network", each): most for each, most in zip(networks, PER_NETWORK, strict=False)
        }
        for parts, most in {("name", name): PER_ACCOUNT, **limits}.items():
            now_s = self._now_s()
            (window,) = self._limits.count(_subject(*parts), {WINDOW_S: most}, now_s=now_s)
            if window.exceeded:
                raise TooManyGuesses(max(1, int(window.reset_s - now_s)))
        language = current()  # the letter is written in another thread
        self._letters.post(lambda: self._write_link(name, language))

    def find(self, token: str) -> Receiver | None:
        """Return the account whose link has this token, None if the link is not valid."""
        resets = self._registry.password_resets
        return resets.find(hash_token(token), oldest_s=self._oldest_s)

    def use(self, token: str, *, password_hash: str) -> Receiver | None:
        """Set a password with a link. None if the link is not valid. Tell the person by mail."""
        account = self._registry.password_resets.use(
            hash_token(token),
            oldest_s=self._oldest_s,
            password_hash=password_hash,
            now_s=int(self._now_s()),
        )
        if account:
            self.tell(account.account_id, account.screen_name)
        return account

    def tell(self, account_id: int, screen_name: str) -> None:
        """Tell the person by mail that the password was changed, if that is possible."""
        if self._letters is None:
            return
        at = f"{current().formats.moment(int(self._now_s()))} UTC"
        url = f"{self._public_url}/sign-in/reset" if self._public_url else _("(ask the operator)")
        subject = _("Your password was changed")
        text = _(_CHANGED, name=screen_name, platform=self._platform, at=at, url=url)

        def write() -> Letter | None:
            mail = self._registry.accounts.read_mail(account_id)
            return Letter(mail, subject, text) if mail else None

        self._letters.post(write)

    def _write_link(self, name: str, language: Language) -> Letter | None:
        resets = self._registry.password_resets
        account = resets.find_receiver(name)
        if account is None:
            return None
        token = draw_cookie()
        resets.add(
            account.account_id,
            token_hash=hash_token(token),
            oldest_s=self._oldest_s,
            now_s=int(self._now_s()),
        )
        facts = {
            "name": account.screen_name,
            "platform": self._platform,
            "url": f"{self._public_url}/sign-in/new-password?token={token}",
            "minutes": self.minutes,
        }
        text = language.gettext(_LINK) % facts
        return Letter(account.mail, language.gettext(_SUBJECT), text)

    @property
    def _oldest_s(self) -> int:
        return int(self._now_s()) - self.minutes * 60


def _subject(*parts: str) -> bytes:
    text = "".join(f"{len(part)}:{part}" for part in ("reset", *parts))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
