"""`/livez` and `/readyz` (api.md 7.2): over plain HTTP, from any address, under any name."""

import pytest

PARTS = [
    *("store", "registry", "keys", "limits", "counting"),
    *("log", "disk", "clock", "damage", "checks"),
]
AWAY = {"X-Forwarded-For": "203.0.113.9", "Host": "10.0.0.7:8080"}


@pytest.fixture
def ask(servers):
    """Ask as another machine does, by an address that is none of the server's names."""
    server = servers(trusted_proxies="127.0.0.1/32", hosts="api.example")

    def send(path, method="GET"):
        return server.client.send(method, path, headers=AWAY)

    return send


def test_livez(ask):
    answer = ask("/livez")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


def test_readyz(ask):
    answer = ask("/readyz")
    expected = {"status": "ready", "checks": dict.fromkeys(PARTS, "ok")}
    assert (answer.status, answer.json()) == (200, expected)


def test_other_paths_stay_refused(ask):
    for path in ("/health", "/insights/engagement/totals", "/livez/", "/readyz?x", "/LIVEZ"):
        method = "POST" if "insights" in path else "GET"
        status = ask(path, method).status
        assert status in ({200} if path == "/readyz?x" else {403, 404, 421}), path


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_other_methods_are_refused(ask, path, method):
    assert ask(path, method).status == 405


def test_they_are_answered_with_require_gzip_and_without_credentials(servers):
    server = servers(require_gzip="true")
    for path in ("/livez", "/readyz"):
        answer = server.client.send("GET", path, headers={"Accept-Encoding": None})
        assert (answer.status, answer.is_gzip) == (200, False)
