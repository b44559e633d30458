"""State shared by worker processes: enabling, limits, revocation and used nonces."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from requests.auth import HTTPBasicAuth

from support.calls import Client, question, sign_as_app, sign_as_user
from support.cli import call_command, run_command
from support.server import Server
from support.signing import as_header, protocol_parameters, signature_with, signed_header
from support.waiting import within_one

PATH = "/insights/engagement/totals"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BODY = json.dumps(question("111"))
CONNECTIONS = 12  # enough that both workers have several


@pytest.fixture(scope="module")
def server(world):
    with Server(world, workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def clients(server):
    """Clients with open connections to both workers."""
    made = [Client(server.url) for _ in range(CONNECTIONS)]
    yield made
    for client in made:
        client.close()


def answers(clients, auth):
    return [client.ask("totals", question("111"), auth) for client in clients]


def outcomes(clients, auth):
    return {(answer.status, answer.code) for answer in answers(clients, auth)}


OK, NOT_ENABLED, LIMITED = {(200, "")}, {(403, "app_not_enabled")}, {(429, "rate_limited")}


def test_enabling_and_disabling_take_effect_on_the_next_request(server, clients):
    app = server.world.pending
    kinds = (sign_as_user(app), sign_as_app(app), server.bearer(app))
    assert all(outcomes(clients, auth) == NOT_ENABLED for auth in kinds)
    for command in (run_command, call_command, call_command):  # starting a process takes seconds
        done = command(server.data, "app", "enable", app.app_id)
        assert done == {
            "app_id": app.app_id,
            "enabled": True,
            "per_minute": None,
            "handles_contracted": None,
            "suspended": False,
        }
        assert all(outcomes(clients, auth) == OK for auth in kinds)
        done = command(server.data, "app", "disable", app.app_id)
        assert done == {
            "app_id": app.app_id,
            "enabled": False,
            "per_minute": None,
            "handles_contracted": None,
            "suspended": False,
        }
        assert all(outcomes(clients, auth) == NOT_ENABLED for auth in kinds)


def test_other_apps_are_not_affected(server, clients):
    app = server.world.carols
    auth = server.bearer(server.world.main)
    server.command("app", "disable", app.app_id)
    assert outcomes(clients, auth) == OK
    server.command("app", "enable", app.app_id)
    assert outcomes(clients, auth) == OK


def test_workers_share_a_limit_and_changes_take_effect_at_once(server, clients):
    app = server.world.bobs
    auth = server.bearer(app)
    question_ = question("211")

    def ask_all():
        return [client.ask("totals", question_, auth) for client in clients]

    done = server.command("app", "enable", app.app_id, "--per-minute", "5")
    assert done["per_minute"] == 5
    found = within_one(60, ask_all)
    assert [answer.status for answer in found] == [200] * 5 + [429] * (CONNECTIONS - 5)
    assert [answer.headers["x-per-minute-limit"] for answer in found] == ["5"] * CONNECTIONS
    assert [answer.headers["x-per-minute-remaining"] for answer in found[:6]] == list("432100")
    server.command("app", "enable", app.app_id, "--per-minute", "1000")
    found = ask_all()
    assert {answer.status for answer in found} == {200}
    assert {answer.headers["x-per-minute-limit"] for answer in found} == {"1000"}
    server.command("app", "disable", app.app_id)
    server.command("app", "enable", app.app_id)
    assert {answer.headers["x-per-minute-limit"] for answer in ask_all()} == {"1000"}


def test_a_disabled_app_is_refused_before_its_limit(server, clients):
    app = server.world.limited
    auth = server.bearer(app)
    answers(clients, auth)
    assert outcomes(clients, auth) >= LIMITED
    server.command("app", "disable", app.app_id)
    assert outcomes(clients, auth) == NOT_ENABLED
    server.command("app", "enable", app.app_id)


def test_an_app_registered_while_the_server_runs(server, clients):
    made = server.command("app", "add", "late", "--owner", "alice")
    app_id = made["app_id"]
    basic = HTTPBasicAuth(made["consumer_key"], made["consumer_secret"])
    answer = clients[0].send(
        "POST", "/oauth2/token", body="grant_type=client_credentials", headers=FORM, auth=basic
    )
    assert answer.status == 200
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    for command, status in (("disable", 403), ("enable", 200)):
        server.command("app", command, app_id)
        found = {client.send("POST", PATH, body=BODY, headers=headers).status for client in clients}
        assert found == {status}


def test_a_revoked_bearer_token_stops_working_on_every_worker(server, clients):
    app = server.world.carols
    basic = HTTPBasicAuth(app.consumer_key, app.consumer_secret)

    def post(path, body):
        return clients[0].send("POST", f"/oauth2/{path}", body=body, headers=FORM, auth=basic)

    for _ in range(3):
        token = post("token", "grant_type=client_credentials").json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        ask = [client.send("POST", PATH, body=BODY, headers=headers) for client in clients]
        assert {answer.status for answer in ask} == {200}
        assert post("invalidate_token", f"access_token={token}").status == 200
        ask = [client.send("POST", PATH, body=BODY, headers=headers) for client in clients]
        assert {answer.code for answer in ask} == {"bearer_token_not_found"}


def test_concurrent_requests_get_the_same_first_bearer_token(server, clients):
    app = server.world.carols
    basic = HTTPBasicAuth(app.consumer_key, app.consumer_secret)

    def post(client):
        return client.send(
            "POST", "/oauth2/token", body="grant_type=client_credentials", headers=FORM, auth=basic
        )

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        found = list(pool.map(post, clients))
    assert {answer.status for answer in found} == {200}
    assert len({answer.json()["access_token"] for answer in found}) == 1


def test_a_deleted_tweet_is_unavailable_on_every_worker(server, clients):
    world = server.world
    auth = server.bearer(world.main)
    row = {"id": "888001", "author_id": "101", "deleted": False}
    for _ in range(2):
        assert clients[0].platform("POST", "tweets", world.platform_key, body=[row]).status == 200
        found = [client.ask("totals", question("888001"), auth).status for client in clients]
        assert set(found) == {200}
        assert clients[1].platform("DELETE", "tweets/888001", world.platform_key).status == 204
        found = [client.ask("totals", question("888001"), auth).status for client in clients]
        assert set(found) == {400}


def test_protecting_an_account_hides_its_tweets_on_every_worker(server, clients):
    world = server.world
    auth = server.bearer(world.main)
    for protected, status in ((True, 400), (False, 200), (True, 400), (False, 200)):
        row = {"id": "404", "screen_name": "dave", "protected": protected}
        assert clients[0].platform("POST", "accounts", world.platform_key, body=[row]).status == 200
        found = [client.ask("totals", question("411"), auth).status for client in clients]
        assert set(found) == {status}


def test_concurrent_repeats_of_a_request_are_accepted_once(server, clients):
    app = server.world.main
    for _ in range(10):
        headers = {"Authorization": signed_header("POST", server.url + PATH, app)}
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            found = list(
                pool.map(
                    lambda client, given=headers: client.send(
                        "POST", PATH, body=BODY, headers=given
                    ),
                    clients,
                )
            )
        assert sorted(answer.status for answer in found) == [200] + [401] * (CONNECTIONS - 1)
        assert {answer.code for answer in found} == {"", "nonce_used"}


def test_one_nonce_is_accepted_once_for_each_signed_request(server, clients):
    """The signature is part of the key of a used nonce, on every worker (api.md 4.1)."""
    app = server.world.main
    stamp = str(int(time.time()))
    parameters = protocol_parameters(app, nonce=stamp, timestamp=stamp)
    requests = []
    for endpoint in ("totals", "28hr", "historical"):
        path = f"/insights/engagement/{endpoint}"
        proof = signature_with("POST", server.url + path, parameters, app)
        requests.append((path, as_header([*parameters, ("oauth_signature", proof)])))

    def send(client, request):
        path, header = request
        headers = {"Authorization": header}
        return client.send("POST", path, body=BODY, headers=headers).status

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        statuses = list(pool.map(send, clients, requests * (CONNECTIONS // len(requests))))
    for position in range(len(requests)):
        assert sorted(statuses[position :: len(requests)]) == [200, 401, 401, 401]


@pytest.mark.heavy
def test_a_paused_server_that_goes_on_ends_by_its_signal(world):
    """Any thread may then receive the signal, and only the main one runs handlers."""
    for _ in range(3):
        with Server(world, workers=1) as running:
            os.kill(running.pid, signal.SIGSTOP)
            os.kill(running.pid, signal.SIGTERM)
            os.kill(running.pid, signal.SIGCONT)
            running.wait()


@pytest.mark.heavy
def test_used_nonces_survive_a_restart(world):
    """A request captured before a restart is refused after it."""
    with Server(world) as server:
        headers = {"Authorization": signed_header("POST", server.url + PATH, world.main)}
        assert server.client.send("POST", PATH, body=BODY, headers=headers).status == 200
        server.stop()
        server.start()
        answer = server.client.send("POST", PATH, body=BODY, headers=headers)
        assert (answer.status, answer.code) == (401, "nonce_used")
