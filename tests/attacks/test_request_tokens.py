"""A request token has one app, one callback, one person, one use, and 15 minutes to live.

Five wrong verifiers or PINs revoke it.
"""

from dataclasses import replace
from itertools import pairwise
from urllib.parse import urlencode, urlsplit

import pytest

from support.flows import CALLBACK, OOB
from support.oauth_server import ACCESS_TOKEN, FORM, REQUEST_TOKEN, SECOND_CALLBACK, run_at_once
from support.person import query_of
from support.signing import as_form

ATTEMPTS_MAX = 5
DEAD = b"Invalid request token."
WRONG = b"Error processing your OAuth request: Invalid oauth_verifier parameter"


def outcome(answer):
    return answer.status, answer.body


def age(oauth, asking, seconds):
    """Make a request token older by this many seconds."""
    oauth.sql(
        "update request_tokens set created_at_s = created_at_s - ? where token = ?",
        seconds,
        asking.access_token,
    )


def wrong(verifier):
    """Another verifier of the same length."""
    return verifier[:-1] + ("1" if verifier[-1] == "0" else "0")


@pytest.fixture(params=[CALLBACK, OOB], ids=["callback", "pin"])
def callback(request):
    return request.param


@pytest.fixture
def app(oauth, callback):
    return oauth.desktop if callback == OOB else oauth.web


# Used before, by another app or person, too late, too early.


def test_used_twice(oauth, alice, app, callback):
    asking, verifier = oauth.authorize_request(alice, app, callback)
    assert oauth.exchange(asking, verifier).status == 200
    for again in (verifier, wrong(verifier), ""):
        assert outcome(oauth.exchange(asking, again)) == (401, DEAD)
    page = alice.open(oauth.consent_url(asking))
    assert (page.status, page.left_for) == (403, None)


def test_by_another_app(oauth, alice, app, callback):
    """Even if that app has the request token, its secret and the verifier."""
    asking, verifier = oauth.authorize_request(alice, app, callback)
    thief = replace(
        asking,
        consumer_key=oauth.other.consumer_key,
        consumer_secret=oauth.other.consumer_secret,
    )
    for _ in range(ATTEMPTS_MAX + 1):
        assert outcome(oauth.exchange(thief, verifier)) == (401, DEAD)
    assert oauth.exchange(asking, verifier).status == 200  # the refusal did not use it up


@pytest.mark.parametrize(("age_s", "status"), [(870, 200), (905, 401), (86_400, 401)])
def test_expired_before_the_access_token_call(oauth, alice, app, callback, age_s, status):
    asking, verifier = oauth.authorize_request(alice, app, callback)
    age(oauth, asking, age_s)
    answer = oauth.exchange(asking, verifier)
    assert answer.status == status, answer
    if status == 401:
        assert answer.body == DEAD


@pytest.mark.parametrize(("age_s", "status"), [(870, 200), (905, 403)])
def test_expired_before_the_consent(oauth, alice, app, callback, age_s, status):
    asking = oauth.request_token(app, callback)
    age(oauth, asking, age_s)
    page = alice.open(oauth.consent_url(asking))
    assert (page.status, page.left_for) == (status, None)


def test_expired_while_the_person_read_the_consent_page(oauth, alice, app, callback):
    asking = oauth.request_token(app, callback)
    page = alice.open(oauth.consent_url(asking))
    age(oauth, asking, 905)
    page = alice.answer(page, "authorize")
    assert (page.status, page.left_for) == (403, None)
    assert "pin" not in page.texts


def test_old_request_tokens_are_removed(oauth, app, callback):
    asking = oauth.request_token(app, callback)
    age(oauth, asking, 905)
    oauth.request_token(app, callback)
    assert not oauth.sql("select 1 from request_tokens where token = ?", asking.access_token)


def test_unauthorised(oauth, app, callback):
    asking = oauth.request_token(app, callback)
    for guess in ("", "0000000", "None", "null", "\x00"):
        assert outcome(oauth.exchange(asking, guess)) == (401, WRONG)
    assert outcome(oauth.exchange(asking, "")) == (401, DEAD)  # five tries, authorized or not


def test_denied(oauth, alice, app, callback):
    asking = oauth.request_token(app, callback)
    alice.cancel(oauth.consent_url(asking))
    assert outcome(oauth.exchange(asking, "0000000")) == (401, DEAD)
    assert alice.open(oauth.consent_url(asking)).status == 403


def test_decided_on_by_one_person(oauth, alice, app, callback):
    """A second person cannot take over the decision. The first may withdraw it, not repeat it."""
    asking = oauth.request_token(app, callback)
    page = alice.open(oauth.consent_url(asking))
    with oauth.person("bob") as bob:
        bobs_page = bob.consent_page(oauth.consent_url(asking))
        ends = [alice.answer(page, "authorize") for _ in range(2)]  # a double click
        assert bob.answer(bobs_page, "authorize").status == 403
        assert bob.answer(bobs_page, "cancel").status == 403
        assert bob.open(oauth.consent_url(asking)).status == 403
    assert ends[0].left_for == ends[1].left_for
    assert ends[0].texts.get("pin") == ends[1].texts.get("pin")
    found = oauth.sql("select account_id from request_tokens where token = ?", asking.access_token)
    assert found == [(101,)]
    assert alice.answer(page, "cancel").status == 200
    assert outcome(oauth.exchange(asking, "0000000")) == (401, DEAD)


def test_unknown(oauth, alice, app):
    for token in ("nobody's", "", "\x00", "x" * 3000, "' or 1=1 --"):
        asking = replace(app, access_token=token, access_token_secret="guess")
        assert oauth.exchange(asking, "0000000").status == 401
        assert (
            alice.http.get(
                oauth.url + "/oauth/authorize", params={"oauth_token": token}
            ).status_code
            == 403
        )


def test_a_suspended_app_gets_nothing(oauth, alice):
    asking, verifier = oauth.authorize_request(alice, oauth.other)
    oauth.server.command("app", "suspend", oauth.other.app_id)
    try:
        for answer in (
            oauth.exchange(asking, verifier),
            oauth.call(REQUEST_TOKEN, oauth.other, callback=CALLBACK),
        ):
            assert answer.status == 401
            assert answer.json()["errors"][0]["code"] == 416
    finally:
        oauth.server.command("app", "resume", oauth.other.app_id)
    assert oauth.exchange(asking, verifier).status == 200


# The secret that signs the access token call.


def test_the_request_tokens_secret_is_needed(oauth, alice, app, callback):
    """Verifier and token appear in URLs, and the consumer secret is in every copy of an app."""
    asking, verifier = oauth.authorize_request(alice, app, callback)
    for secret in ("", verifier, asking.access_token, oauth.server.world.bobs.access_token_secret):
        answer = oauth.exchange(replace(asking, access_token_secret=secret), verifier)
        assert answer.status == 401
        assert b"oauth_token" not in answer.body
    assert oauth.exchange(asking, verifier).status == 200


# Verifiers and PINs.


def test_after_a_wrong_verifier_the_right_one_is_still_accepted(oauth, alice, app, callback):
    asking, verifier = oauth.authorize_request(alice, app, callback)
    for guess in (wrong(verifier), "", f"{verifier} ", verifier[:-1]):
        assert outcome(oauth.exchange(asking, guess)) == (401, WRONG)
    assert oauth.exchange(asking, verifier).status == 200


def test_a_verifier_left_out(oauth, alice, app, callback):
    asking, _ = oauth.authorize_request(alice, app, callback)
    assert outcome(oauth.call(ACCESS_TOKEN, asking)) == (401, WRONG)


def test_after_five_wrong_verifiers_the_right_one_is_refused(oauth, alice, app, callback):
    asking, verifier = oauth.authorize_request(alice, app, callback)
    for _ in range(ATTEMPTS_MAX):
        assert outcome(oauth.exchange(asking, wrong(verifier))) == (401, WRONG)
    assert outcome(oauth.exchange(asking, verifier)) == (401, DEAD)


def test_the_verifier_of_another_request_token(oauth, alice, app, callback):
    asking, _ = oauth.authorize_request(alice, app, callback)
    _, others = oauth.authorize_request(alice, app, callback)
    assert outcome(oauth.exchange(asking, others)) == (401, WRONG)


def test_a_call_with_a_bad_signature_uses_up_no_attempt(oauth, alice, app, callback):
    asking, verifier = oauth.authorize_request(alice, app, callback)
    for forged in (
        replace(asking, consumer_secret="guess"),
        replace(asking, access_token_secret="guess"),
    ):
        for _ in range(ATTEMPTS_MAX + 1):
            assert oauth.exchange(forged, wrong(verifier)).status == 401
    assert oauth.exchange(asking, verifier).status == 200


def test_guesses_at_once_on_two_workers_stay_within_the_bound(
    two_workers, alice_on_two_workers, clients
):
    """However many calls arrive at the same moment, only five verifiers are compared."""
    asking, pin = two_workers.authorize_request(alice_on_two_workers, two_workers.desktop, OOB)
    found = run_at_once(
        lambda client: outcome(two_workers.exchange(asking, wrong(pin), client=client)), clients
    )
    assert sorted(found) == sorted(
        [(401, WRONG)] * ATTEMPTS_MAX + [(401, DEAD)] * (len(clients) - ATTEMPTS_MAX)
    )
    assert outcome(two_workers.exchange(asking, pin)) == (401, DEAD)


def test_the_right_verifier_at_once_on_two_workers_is_accepted_once(
    two_workers, alice_on_two_workers, clients
):
    for _ in range(3):
        asking, pin = two_workers.authorize_request(alice_on_two_workers, two_workers.desktop, OOB)
        found = run_at_once(
            lambda client, of=asking, by=pin: two_workers.exchange(of, by, client=client), clients
        )
        assert sorted(answer.status for answer in found) == [200] + [401] * (len(clients) - 1)


def test_right_and_wrong_verifiers_at_once(two_workers, alice_on_two_workers, clients):
    asking, pin = two_workers.authorize_request(alice_on_two_workers, two_workers.desktop, OOB)
    guesses = [(client, wrong(pin) if index % 2 else pin) for index, client in enumerate(clients)]
    found = run_at_once(
        lambda each: two_workers.exchange(asking, each[1], client=each[0]).status, guesses
    )
    assert found.count(200) <= 1
    assert set(found) <= {200, 401}


def test_pins_and_verifiers_do_not_repeat_or_follow_a_pattern(oauth, alice):
    pins = [oauth.authorize_request(alice, oauth.desktop, OOB)[1] for _ in range(8)]
    assert len(set(pins)) == len(pins)
    assert all(len(pin) == 7 and pin.isdecimal() for pin in pins)
    steps = {int(after) - int(before) for before, after in pairwise(pins)}
    assert len(steps) == len(pins) - 1
    verifiers = [oauth.authorize_request(alice, oauth.web)[1] for _ in range(4)]
    assert all(len(verifier) >= 32 for verifier in verifiers)


# Callbacks.


def test_the_callback_is_the_one_of_the_request_token_call(oauth, alice):
    """A callback given later, on the pages or in the access token call, changes nothing."""
    asking = oauth.request_token(oauth.web, CALLBACK)
    evil = "https://evil.example/"
    url = f"{oauth.consent_url(asking)}&oauth_callback={evil}&callback={evil}"
    page = alice.open(url)
    form = page.form_sending("decision", "authorize")
    sent = [*form.filled(decision="authorize"), ("oauth_callback", evil), ("callback", evil)]
    answer = alice.http.post(f"{oauth.url}{form.action}", data=dict(sent), headers=FORM)
    target = answer.headers["location"]
    assert urlsplit(target).netloc == urlsplit(CALLBACK).netloc
    verifier = query_of(target)["oauth_verifier"]
    assert oauth.exchange(asking, verifier, callback=evil).status == 200


def test_callbacks_swapped_between_two_request_tokens(oauth, alice):
    """Each request token keeps its own callback, and its verifier is refused for the other."""
    first = oauth.request_token(oauth.web, CALLBACK)
    second = oauth.request_token(oauth.web, SECOND_CALLBACK)
    pages = [alice.open(oauth.consent_url(each)) for each in (first, second)]
    targets = [alice.answer(page, "authorize").left_for for page in pages]
    assert [urlsplit(each).netloc for each in targets] == ["client.example", "second.example"]
    verifiers = [query_of(target)["oauth_verifier"] for target in targets]
    assert oauth.exchange(first, verifiers[1]).status == 401
    assert oauth.exchange(second, verifiers[0]).status == 401
    assert oauth.exchange(first, verifiers[0]).status == 200


def test_the_page_of_a_pin_request_does_not_redirect(oauth, alice):
    """It shows a PIN, even if the app has callback URLs."""
    asking = oauth.request_token(oauth.web, OOB)
    assert alice.authorize_pin(oauth.consent_url(asking)).isdecimal()


def test_consent_to_one_request_is_not_consent_to_another(oauth, alice):
    """The form carries the request token of the page. Another token in it is refused."""
    shown = oauth.request_token(oauth.web, CALLBACK)
    other = oauth.request_token(oauth.other, CALLBACK)
    page = alice.open(oauth.consent_url(shown))
    alice.answer(page, "authorize")
    assert oauth.exchange(other, "0000000").body == WRONG
    [(account,)] = oauth.sql(
        "select account_id from request_tokens where token = ?", other.access_token
    )
    assert account is None


def test_two_request_tokens_in_one_address(oauth, alice):
    """Otherwise the page could name one app and authorize the other."""
    tokens = [oauth.request_token(each, CALLBACK).access_token for each in (oauth.web, oauth.other)]
    query = "&".join(f"oauth_token={each}" for each in tokens)
    for page in ("authorize", "authenticate"):
        assert alice.open(f"/oauth/{page}?{query}").status == 403
    with oauth.person() as fresh:
        page = fresh.open(f"/sign-in?{urlencode({'return_to': f'/oauth/authorize?{query}'})}")
        assert page.status == 200
        assert not [app for app in ("Web app", "Other app") if app in page.html]
    form = alice.open(f"/oauth/authorize?oauth_token={tokens[0]}").form_sending(
        "decision", "cancel"
    )
    sent = [*form.fields, ("oauth_token", tokens[1]), ("decision", "authorize")]
    answer = alice.http.post(f"{oauth.url}/oauth/authorize", content=as_form(sent), headers=FORM)
    assert answer.status_code == 403
