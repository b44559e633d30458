"""Issue and invalidate an app's bearer token: `oauth2/*` (api.md 4.7)."""

from openengagement.auth.credentials import issue_bearer, revoke_bearer
from openengagement.auth.keyring import Keyring
from openengagement.auth.lookup import CredentialLookup
from openengagement.auth.verifier import OAuthVerifier
from openengagement.errors import UnverifiedClient
from openengagement.http.forms import MalformedParameters, given_once, parse_form, parse_form_body
from openengagement.http.message import Message
from openengagement.registry.apps import AppRemoved
from openengagement.registry.registry import Registry


class BearerTokens:
    """Answers calls to oauth2/token and oauth2/invalidate_token. Both may write to the registry."""

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
        """Return the app's bearer token, which stays the same until it is invalidated.

        Raises:
            UnverifiedClient: wrong credentials, or a grant type other than client_credentials.
        """
        app = self._verifier.verify_basic(message)
        if app is None or _form_fields(message).get("grant_type") != "client_credentials":
            raise UnverifiedClient
        try:
            token = issue_bearer(self._registry, self._keyring, app=app)
        except AppRemoved:
            raise UnverifiedClient from None
        # A rotation of the consumer key, which revokes the bearer token, may have run meanwhile.
        # `token` is then the one of the next generation, which the old key must not get.
        if self._lookup.find_consumer(app.consumer_key) is None:
            raise UnverifiedClient
        return token

    def invalidate(self, message: Message) -> str:
        """Revoke the bearer token in the call's `access_token`; return that token.

        The call has the app's key and secret (Twitter's guide), or the signature of the app's owner
        (Twitter's reference).

        Raises:
            UnverifiedClient: the credentials are wrong, or the token is another app's.
            NonceUsed: the owner's signed call was made before.
        """
        app = self._verifier.verify_basic(message) or self._verifier.verify_owner(message)
        if app is None:
            raise UnverifiedClient
        token = _form_fields(message).get("access_token", "")
        holder = self._lookup.find_by_bearer(token)
        if holder is None or holder.id != app.id:
            raise UnverifiedClient
        revoke_bearer(self._registry, holder)
        return token


def _form_fields(message: Message) -> dict[str, str]:
    """Read the fields of query and form. A field that is given twice counts as missing."""
    try:
        form = parse_form_body(message.content_type, message.body)
        return given_once(parse_form(message.query) + form)
    except MalformedParameters:
        return {}
