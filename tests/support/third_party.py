"""A third-party app that uses requests-oauthlib to get and use an access token."""

from requests_oauthlib import OAuth1Session

from support.flows import (
    OWNERS_FIGURES,
    OWNERS_QUESTION,
    RECENT_QUESTION,
    Consumer,
    Endpoints,
    assert_is_28_hours,
)
from support.person import query_of


class ThirdParty:
    """An app that serves one person at a time."""

    def __init__(self, name: str, consumer: Consumer, *, at: Endpoints, callback: str) -> None:
        self.name = name
        self.consumer = consumer
        self.at = at
        self.callback = callback
        self.token: dict[str, str] = {}

    def begin(self, endpoint: str | None = None, **query: str) -> str:
        """Fetch a request token. Return the URL to which the person must go."""
        self.token = {}
        with self._session(callback_uri=self.callback) as session:
            self.token = session.fetch_request_token(self.at.request_token)
            url: str = session.authorization_url(endpoint or self.at.authorize, **query)
            return url

    def finish(self, verifier: str) -> None:
        """Exchange the request token for an access token."""
        with self._session(verifier=verifier) as session:
            self.token = session.fetch_access_token(self.at.access_token)

    def finish_at(self, callback: str) -> None:
        """Exchange the request token, with the verifier of the callback URL."""
        given = query_of(callback)
        assert given["oauth_token"] == self.token["oauth_token"]
        self.finish(given["oauth_verifier"])

    def assert_acts_for_alice(self) -> None:
        """Check that the token reads metrics that only alice may read."""
        assert self.token["screen_name"] == "alice"
        with self._session() as session:
            answer = session.post(self.at.last_28_hours, json=RECENT_QUESTION)
            assert answer.status_code == 200, answer.text
            assert_is_28_hours(answer.json())
            answer = session.post(self.at.totals, json=OWNERS_QUESTION)
            assert (answer.status_code, answer.json()) == (200, OWNERS_FIGURES)

    def status(self) -> int:
        """Return the status of an API request with the token."""
        with self._session() as session:
            return session.post(self.at.last_28_hours, json=RECENT_QUESTION).status_code

    def _session(self, **options: str) -> OAuth1Session:
        session = OAuth1Session(
            self.consumer.key,
            self.consumer.secret,
            resource_owner_key=self.token.get("oauth_token"),
            resource_owner_secret=self.token.get("oauth_token_secret"),
            **options,
        )
        session.trust_env = False
        return session
