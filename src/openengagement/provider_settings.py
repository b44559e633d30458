"""The settings of the OpenID Connect provider, and errors about settings (see `settings`)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar
from urllib.parse import urlsplit

from openengagement.setting_kinds import find_oidc_fault, read_secret
from openengagement.setting_kinds import text as _text

ENV_PREFIX: Final = "OPENENGAGEMENT_"
Parsed = TypeVar("Parsed")


class SettingsError(ValueError):
    """A setting is invalid. The text names it and says which values are valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """The settings through which people sign in at another server."""

    oidc_issuer: str = _text(
        "",
        "Issuer of the OpenID Connect provider through which people sign in, exactly as in its "
        "discovery document. Requires a client ID and a secret.",
        unit="URL",
    )
    oidc_client_id: str = _text("", "Client ID of this server at the provider.", unit="text")
    oidc_client_secret: str = _text(
        "", "Client secret of this server at the provider.", unit="text", secret=True
    )
    oidc_client_secret_file: str = _text(
        "", "File with the client secret, to keep it out of the environment.", unit="path"
    )
    oidc_name: str = _text(
        "", "Name of the provider on the sign-in page; its host name by default.", unit="text"
    )
    oidc_account_claim: str = _text(
        "preferred_username",
        "Claim that identifies the account: sub is compared with the account id, any other claim "
        "with the screen name.",
        unit="claim",
    )
    oidc_scope: str = _text(
        "openid profile",
        "Scopes to request from the provider; openid must be one of them.",
        unit="scopes",
    )

    @property
    def oidc_secret(self) -> str:
        """Read the client secret and check all `oidc_` settings; "" if no provider is set."""
        read = partial(read_secret, self.oidc_client_secret)
        secret = self._parse("oidc_client_secret_file", read)
        client = (self.oidc_issuer, self.oidc_client_id, secret)
        if fault := find_oidc_fault(client, scope=self.oidc_scope, claim=self.oidc_account_claim):
            raise SettingsError(f"{ENV_PREFIX}{fault}")
        return secret

    @property
    def oidc_shown_name(self) -> str | None:
        """The name of the provider on the pages; None if no provider is set."""
        host = urlsplit(self.oidc_issuer).hostname
        return host and (self.oidc_name or host)

    def _parse(self, name: str, parse: Callable[[str], Parsed]) -> Parsed:
        """Parse the text of a setting whose errors must name it."""
        try:
            return parse(getattr(self, name))
        except ValueError as error:
            raise SettingsError(f"{ENV_PREFIX}{name.upper()}: {error}") from None
