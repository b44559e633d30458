"""Sharing: a viewer sees an owner's figures on the pages, and nothing else, until it is revoked."""

import re
from types import SimpleNamespace

import pytest

from openengagement.portal.sharing import TRIES_MAX
from support.calls import sign_as_user
from support.flows import set_password
from support.oauth_server import start_oauth_server, stay_in_window
from support.stores import query_registry

SHARING = "/settings/sharing"
ALICE, BOB, CAROL = 101, 202, 303
RECENT = "111"
FIGURES = (
    "/overview",
    "/overview.csv",
    "/explore",
    "/explore/tweets.csv",
    f"/explore/compare?tweet_ids={RECENT}",
    f"/explore/compare.csv?tweet_ids={RECENT}",
)


@pytest.fixture(scope="module")
def server(world):
    with start_oauth_server(world, workers=2, shares_per_account_max="2") as made:
        yield made


@pytest.fixture(scope="module")
def people(server):
    """Alice with Tweets, and bob, both signed in."""
    with server.person() as alice, server.person("bob") as bob:
        alice.sign_in()
        bob.sign_in()
        yield SimpleNamespace(alice=alice, bob=bob)


@pytest.fixture
def shared(people):
    """Alice shares with bob, until the end of the test."""
    share(people.alice, "bob")
    yield people
    stop(people.alice, BOB)


def share(person, screen_name):
    page = person.open(SHARING)
    return person.submit(page, page.form_with("screen_name"), screen_name=screen_name)


def post(person, path, **fields):
    """Post a form that the page does not have, with the page's token."""
    token = dict(person.open(SHARING).form_with("csrf_token", action="/sign-out").fields)[
        "csrf_token"
    ]
    return person.http.post(f"{person.origin}{path}", data={"csrf_token": token, **fields})


def stop(person, viewer_id):
    assert post(person, f"{SHARING}/end", viewer_id=viewer_id).status_code == 303


def get(person, path):
    return person.http.get(f"{person.origin}{path}")


def statuses(person, owner_id=ALICE):
    return {get(person, f"/shared/{owner_id}{path}").status_code for path in FIGURES}


def add_account(server, name, account_id):
    server.server.command("account", "add", name, "--id", str(account_id))
    set_password(server.server, name)


def audited(server):
    return query_registry(
        server.server.data, "SELECT actor, action, subject FROM audit_log ORDER BY id DESC LIMIT 1"
    )


# What a viewer sees.


def test_a_viewer_sees_the_same_figures_as_the_owner(shared):
    for path in (each for each in FIGURES if ".csv" in each):
        own, seen = get(shared.alice, path), get(shared.bob, f"/shared/{ALICE}{path}")
        assert (own.status_code, seen.status_code) == (200, 200)
        assert seen.content == own.content
        assert 'filename="alice-' in seen.headers["content-disposition"]


def test_every_page_names_the_author_and_links_only_to_their_figures(shared):
    for path in (each for each in FIGURES if ".csv" not in each):
        text = get(shared.bob, f"/shared/{ALICE}{path}").text
        content = text[text.index("<main") :]
        assert re.search(r"<h1>.*alice.*</h1>", content), path
        links = re.findall(r'(?:href|action)="(/(?:overview|explore)[^"]*)"', content)
        assert links == [], path
        assert f'"/shared/{ALICE}/explore' in text
        assert "curl" not in content


def test_a_viewer_reads_the_authors_tweets_only(shared):
    """The figures are those that the API serves to the author: nobody else's Tweets."""
    bobs = get(shared.bob, "/explore/tweets.csv").text
    (tweet, *_) = re.findall(r"Tweet (\d+)", bobs)
    answer = get(shared.bob, f"/shared/{ALICE}/explore/compare?tweet_ids={tweet}")
    assert answer.status_code == 403


def test_the_use_of_a_share_is_shown_to_the_owner(shared):
    assert "never" in shared.alice.open(SHARING).response.text
    get(shared.bob, f"/shared/{ALICE}/overview")
    assert "never" not in shared.alice.open(SHARING).response.text


def test_protected_tweets_stay_unserved(server, people):
    set_password(server.server, "carol")
    with server.person("carol") as carol:
        carol.sign_in()
        share(carol, "bob")
        page = get(people.bob, f"/shared/{CAROL}/overview")
        assert "This account is protected" in page.text
        assert "This account is protected" in get(people.bob, f"/shared/{CAROL}/explore").text
        assert len(get(people.bob, f"/shared/{CAROL}/explore/tweets.csv").text.split("\n")) == 2
        stop(carol, BOB)


def test_a_viewer_without_figures_begins_at_shared_ones(server, people):
    add_account(server, "agency", 901)
    with server.person("agency") as agency:
        agency.sign_in()
        assert agency.open("/").url.endswith("/overview")
        share(people.alice, "agency")
        assert agency.open("/").url.endswith(f"/shared/{ALICE}/overview")
        stop(people.alice, 901)


# What a share does not give.


def test_nothing_without_a_share(people):
    stranger = get(people.bob, "/shared/999999/overview")
    answer = get(people.bob, f"/shared/{ALICE}/overview")
    assert answer.status_code == stranger.status_code == 403
    assert statuses(people.bob) == {403}
    assert get(people.bob, "/shared/alice/overview").status_code == 403
    assert get(people.bob, f"/shared/{'9' * 40}/overview").status_code == 403
    # The answer does not tell whether an account exists.
    own = r'name="(csrf_token|return_to)" value="[^"]*"'
    assert re.sub(own, "", answer.text) == re.sub(own, "", stranger.text)


def test_a_share_has_one_direction(shared):
    assert statuses(shared.bob) == {200}
    assert statuses(shared.alice, BOB) == {403}


def test_a_share_is_not_passed_on(server, shared):
    add_account(server, "third", 902)
    with server.person("third") as third:
        third.sign_in()
        share(shared.bob, "third")
        assert statuses(third) == {403}
        stop(shared.bob, 902)


def test_shared_pages_need_a_sign_in(server):
    with server.person() as visitor:
        answer = get(visitor, f"/shared/{ALICE}/overview")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?")


def test_a_share_is_nothing_to_the_api(server, shared):
    """Bob's token reads no figures of alice that are for the owner only."""
    body = {
        "tweet_ids": [RECENT],
        "engagement_types": ["impressions"],
        "groupings": {"g": {"group_by": ["engagement.type"]}},
    }
    client, bobs = server.server.client, server.server.world.bobs
    assert client.ask("totals", body, sign_as_user(bobs)).status == 403


@pytest.mark.parametrize(
    "path", ["/settings/apps", "/settings/sharing", "/portal", "/manage", "/", "/settings/security"]
)
def test_only_figures_have_shared_paths(shared, path):
    assert get(shared.bob, f"/shared/{ALICE}{path}").status_code == 404


# Ending a share.


def test_revoking_takes_effect_on_the_next_request_of_every_worker(server, people):
    for _ in range(5):
        share(people.alice, "bob")
        assert statuses(people.bob) == {200}
        stop(people.alice, BOB)
        assert {get(people.bob, f"/shared/{ALICE}/overview").status_code for _ in range(8)} == {403}
    assert audited(server) == [("alice", "unshare", "bob")]


def test_a_viewer_leaves(server, shared):
    assert post(shared.bob, f"{SHARING}/end", owner_id=ALICE).status_code == 303
    assert statuses(shared.bob) == {403}
    assert audited(server) == [("bob", "leave_share", "alice")]


def test_nobody_ends_the_shares_of_others(server, shared):
    add_account(server, "meddler", 903)
    with server.person("meddler") as meddler:
        meddler.sign_in()
        for fields in (
            {"owner_id": ALICE},
            {"viewer_id": BOB},
            {"owner_id": ALICE, "viewer_id": BOB},
            {},
            {"owner_id": "x"},
        ):
            post(meddler, f"{SHARING}/end", **fields)
    assert statuses(shared.bob) == {200}


def test_forms_need_their_token(people):
    for path, fields in ((SHARING, {"screen_name": "bob"}), (f"{SHARING}/end", {"owner_id": 1})):
        answer = people.alice.http.post(f"{people.alice.origin}{path}", data=fields)
        assert answer.status_code == 403
    assert statuses(people.bob) == {403}


def test_erasing_an_account_removes_its_shares(server, people):
    add_account(server, "brief", 904)
    with server.person("brief") as brief:
        brief.sign_in()
        share(brief, "bob")
        share(people.alice, "brief")
        assert get(people.bob, "/shared/904/overview").status_code == 200
        server.server.command("account", "remove", "brief", "--yes")
        assert get(people.bob, "/shared/904/overview").status_code == 403
    rows = "SELECT count(*) FROM shares WHERE owner_id = 904 OR viewer_id = 904"
    assert query_registry(server.server.data, rows) == [(0,)]
    names = "SELECT count(*) FROM audit_log WHERE actor = 'brief' OR subject = 'brief'"
    assert query_registry(server.server.data, names) == [(0,)]


# Refusals.


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("nobody-at-all", 400, "No account has this screen name"),
        ("", 400, "No account has this screen name"),
        ("alice", 400, "This is your own account"),
        ("@ALICE", 400, "This is your own account"),
        ("<b>x</b>", 400, "No account has this screen name"),
    ],
)
def test_names_that_cannot_be_shared_with(people, name, status, text):
    page = share(people.alice, name)
    assert page.status == status
    assert text in page.response.text
    assert "<b>x</b>" not in page.response.text


def test_a_name_in_other_letters_and_twice(server, people):
    assert "can see your figures now" in share(people.alice, "@BoB").response.text
    assert "can see your figures now" in share(people.alice, "bob").response.text
    rows = f"SELECT count(*) FROM shares WHERE owner_id = {ALICE}"
    assert query_registry(server.server.data, rows) == [(1,)]
    stop(people.alice, BOB)
    assert audited(server) == [("alice", "unshare", "bob")]


def test_the_notice_names_only_viewers(people):
    page = people.alice.open(f"{SHARING}?shared=bob")
    assert "can see your figures now" not in page.response.text


def test_the_limit_on_viewers(server, people):
    """Two accounts, as the setting says. The form is gone then; a form that was open is refused."""
    add_account(server, "more", 905)
    with server.person("more") as generous:
        generous.sign_in()
        page = generous.open(SHARING)
        form = page.form_with("screen_name")
        for name in ("bob", "carol"):
            share(generous, name)
        refused = generous.submit(page, form, screen_name="alice")
        for viewer_id in (BOB, CAROL):
            stop(generous, viewer_id)
    assert refused.status == 409
    assert "which is the maximum" in refused.response.text
    assert not any("screen_name" in each.names for each in refused.forms)


def test_tries_of_screen_names_are_limited(server):
    """Each try tells whether an account has the name, so nobody may try many."""
    add_account(server, "prober", 906)
    stay_in_window()  # what is refused must stay refused to the end of the test
    with server.person("prober") as prober:
        prober.sign_in()
        # A window may end meanwhile, so the number of tries spans two of them.
        pages = (share(prober, f"guess-{at}") for at in range(2 * TRIES_MAX + 1))
        page = next(page for page in pages if page.status != 400)
        assert page.status == 429
        assert "You have tried many screen names" in page.response.text
        assert share(prober, "bob").status == 429
    rows = "SELECT count(*) FROM shares WHERE owner_id = 906"
    assert query_registry(server.server.data, rows) == [(0,)]
