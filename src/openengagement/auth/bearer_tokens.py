"""An app's bearer token: fetched with its key and secret, killed when it says so (api.md 4.7)."""

from openengagement.auth.credentials import Keyring, issue_bearer, revoke_bearer
from openengagement.auth.lookup import CredentialLookup
from openengagement.auth.verifier import OAuthVerifier
from openengagement.errors import UnverifiedClient
from openengagement.http.forms import (
    MalformedParameters,
    given_once,
    parse_form,
    parse_form_body,
)
from openengagement.http.message import Message
from openengagement.registry.registry import Registry


class BearerTokens:
    """Issues and invalidates bearer tokens. Both may write to the registry."""

    def __init__(
        self,
        verifier: OAuthVerifier,
        lookup: CredentialLookup,
        *,
        registry: Registry,
        keyring: Keyring,
    ) -> None:
        self._verifier = verifier
        self._lookup = lookup
        self._registry = registry
        self._keyring = keyring

    def issue(self, message: Message) -> str:
        """The app's bearer token, the same one until it is invalidated.

        Raises:
            UnverifiedClient: wrong credentials, or another grant type.
        """
        app = self._verifier.verify_basic(message)
        if app is None or _form_fields(message).get("grant_type") != "client_credentials":
            raise UnverifiedClient
        token = issue_bearer(self._registry, self._keyring, app=app)
        # Whoever replaced the key meanwhile killed the bearer token of the old one, and this may be
        # the next: not for the old key to hear.
        if self._lookup.consumer(app.consumer_key) is None:
            raise UnverifiedClient
        return token

    def invalidate(self, message: Message) -> str:
        """Kill a bearer token of the app that asks, and name it.

        The app shows its key and secret (the guide), or its owner signs (the reference).

        Raises:
            UnverifiedClient: the app is not who it says, or the token is not its own.
            NonceUsed: the owner's call was made before.
        """
        app = self._verifier.verify_basic(message)
        if app is None:
            app = self._verifier.verify_owner(message)
        if app is None:
            raise UnverifiedClient
        token = _form_fields(message).get("access_token", "")
        holder = self._lookup.bearer(token)
        if holder is None or holder.id != app.id:
            raise UnverifiedClient
        revoke_bearer(self._registry, holder)
        return token


def _form_fields(message: Message) -> dict[str, str]:
    """Read query and form together. A field that is given twice counts as not given."""
    try:
        form = parse_form_body(message.content_type, message.body)
        return given_once(parse_form(message.query) + form)
    except MalformedParameters:
        return {}
