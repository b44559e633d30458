"""The console's webhooks: managers only, each change recorded, each secret shown once."""

import pytest

from support.cases import cases
from support.flows import add_manager
from support.oauth_server import FORM, start_oauth_server
from support.person import read_page
from support.receiver import LOOPBACK, Receiver, verify
from support.signing import as_form

PATH = "/manage/webhooks"
TEST = "/manage/webhooks/test"
URL = "https://hooks.example.com/engagement?key=of-the-receiver"
ALL = {
    f"type_{kind}": "on"
    for kind in ("app.waiting", "limit.reached", "contract.near", "contract.reached")
} | {"type_damage.found": "on"}
DAMAGE = {"type_damage.found": "on"}  # which nothing else on the server notifies of


@pytest.fixture(scope="module")
def console(world):
    """Two workers, and two managers."""
    with start_oauth_server(world, workers=2, webhook_networks=LOOPBACK) as made:
        for name in ("mira", "nils"):
            add_manager(made.server, name)
        yield made


@pytest.fixture(scope="module")
def mira(console):
    with console.person("mira") as person:
        person.sign_in()
        yield person


@pytest.fixture(autouse=True)
def _healthy(console):
    yield
    assert "request_failed" not in console.server.log(), console.server.log()[-2000:]


@pytest.fixture
def receiver():
    with Receiver() as started:
        yield started


def post(person, path, fields, *, token=None):
    """Send a form as it would be sent from a page of this person."""
    if token is None:
        forms = person.open("/sign-in").forms
        token = next(v for form in forms for name, v in form.fields if name == "csrf_token")
    pairs = [*fields.items(), ("csrf_token", token)]
    answer = person.http.post(person.origin + path, content=as_form(pairs), headers=FORM)
    return read_page(answer)


def add(console, person, url=URL, **types):
    """Add a webhook. Return its id and its secret."""
    assert post(person, PATH, {"url": url, **(types or ALL)}).status == 303
    page = person.open(PATH)
    secret = page.text("webhook-secret")
    console.server.secrets.append(secret)
    found = console.sql("select id from webhooks where url = ? order by created_at_s", url)
    return found[-1][0], secret


def recorded(console):
    return console.sql("select action, actor, subject, before from audit_log order by id")


def test_only_managers_open_the_page_and_change_webhooks(console, mira):
    webhook_id, _ = add(console, mira)
    before = console.sql("select * from webhooks")
    forms = (
        (PATH, {"url": URL, **ALL}),
        (PATH, {"rotate": webhook_id}),
        (PATH, {"remove": webhook_id}),
        (PATH, {"retry": webhook_id}),
        (TEST, {"target": webhook_id}),
    )
    with console.person("alice") as member, console.person() as visitor:
        member.sign_in()
        assert member.open(PATH).status == 403
        assert visitor.open(PATH).url.startswith(f"{console.url}/sign-in")
        for path, fields in forms:
            assert post(member, path, fields).status == 403
            assert post(mira, path, fields, token="x").status == 403
    assert console.sql("select * from webhooks") == before


def test_a_webhook_from_its_first_test_to_its_end(console, mira, receiver):
    webhook_id, secret = add(console, mira, receiver.url, **DAMAGE)
    assert secret not in mira.open(PATH).html
    assert post(mira, TEST, {"target": webhook_id}).status == 303
    assert mira.open(PATH).text("result") == "The test was accepted: 204."
    assert "result" not in mira.open(PATH).texts
    assert verify(receiver.received[0], secret)["type"] == "webhook.test"

    receiver.answer = lambda _number: 500
    assert post(mira, TEST, {"target": webhook_id}).status == 303
    assert mira.open(PATH).text("result") == "The test was not accepted: 500."
    receiver.answer = lambda _number: 204

    assert post(mira, PATH, {"rotate": webhook_id}).status == 303
    page = mira.open(PATH)
    newer = page.text("webhook-secret")
    console.server.secrets.append(newer)
    assert "signs until" in page.html
    assert post(mira, TEST, {"target": webhook_id}).status == 303
    for signing in (secret, newer):  # for a day, both sign
        verify(receiver.received[-1], signing)

    assert post(mira, PATH, {"remove": webhook_id}).status == 303
    for path, field in ((PATH, "remove"), (PATH, "rotate"), (PATH, "retry"), (TEST, "target")):
        assert post(mira, path, {field: webhook_id}).status == 404
    host = receiver.url.split("/")[2]
    assert recorded(console)[-3:] == [
        (f"{action}_webhook", "mira", host, webhook_id) for action in ("add", "rotate", "remove")
    ]
    assert "of-the-receiver" not in str(recorded(console))
    log = mira.open("/manage/audit?q=rotate_webhook").html
    assert "rotated the secret of the webhook to" in log


def test_failed_deliveries_are_shown_and_begun_again(console, mira, receiver):
    receiver.answer = lambda _number: 410
    webhook_id, _ = add(console, mira, receiver.url, **DAMAGE)
    console.sql(
        "insert into notifications (id, occasion, type, data, created_at_s, queued) "
        "values ('msg_1', 'x', 'damage.found', '{}', 4102444800, true)"
    )
    console.sql(
        "insert into deliveries (notification_id, target, state, attempts, next_at_s, result) "
        "values ('msg_1', ?, 'failed', 12, 0, '503')",
        webhook_id,
    )
    page = mira.open(f"{PATH}?target={webhook_id}&state=failed")
    assert "1 failed" in page.html
    assert "503" in page.html
    assert "There are none that match" in mira.open(f"{PATH}?state=delivered").html
    mira.submit(page, page.form_sending("retry", webhook_id), retry=webhook_id)
    [(state, attempts)] = console.sql(
        "select state, attempts from deliveries where notification_id = 'msg_1'"
    )
    assert (state, attempts) != ("failed", 12)


@cases(
    ("fields", "field", "text"),
    [
        ({"url": "", **ALL}, "url", "https"),
        ({"url": "http://hooks.example.com/", **ALL}, "url", "https"),
        ({"url": "https://10.0.0.1/", **ALL}, "url", "not a public address"),
        ({"url": "https://u:p@hooks.example.com/", **ALL}, "url", "without a user"),
        ({"url": f"https://hooks.example.com/{'x' * 2048}", **ALL}, "url", "2048"),
        ({"url": URL}, "types", "at least one"),
        ({"url": URL, "type_webhook.test": "on"}, "types", "at least one"),
    ],
)
def test_invalid_webhooks_are_refused_beside_their_field(console, mira, fields, field, text):
    before = console.sql("select count(*) from webhooks")
    page = post(mira, PATH, fields)
    assert page.status == 400
    assert text in page.text(f"{field}-fault")
    assert console.sql("select count(*) from webhooks") == before


def test_a_webhook_gets_only_the_chosen_types(console, mira):
    url = f"{URL}&damage"
    add(console, mira, url, **DAMAGE)
    assert console.sql("select types from webhooks where url = ?", url) == [("damage.found",)]


def test_mail_that_is_not_set_cannot_be_tested(mira):
    assert post(mira, TEST, {"target": "mail"}).status == 404
    assert post(mira, PATH, {"retry": "mail"}).status == 404
    assert post(mira, TEST, {}).status == 404


@pytest.mark.parametrize("query", ["?target=%00", "?state=x", "?target=wh_x&state=failed"])
def test_unknown_filters_show_nothing_or_everything(mira, query):
    assert mira.open(PATH + query).status == 200


def test_a_former_manager_changes_no_webhook(console, mira):
    webhook_id, _ = add(console, mira, f"{URL}&kept")
    with console.person("nils") as nils:
        nils.sign_in()
        forms = nils.open("/sign-in").forms
        token = next(v for form in forms for name, v in form.fields if name == "csrf_token")
        console.sql("update accounts set role = 'member' where screen_name_key = 'nils'")
        try:
            for fields in ({"url": URL, **ALL}, {"rotate": webhook_id}, {"remove": webhook_id}):
                assert post(nils, PATH, fields, token=token).status == 403
        finally:
            console.sql("update accounts set role = 'manager' where screen_name_key = 'nils'")
    assert "nils" not in {actor for _action, actor, *_ in recorded(console)}
