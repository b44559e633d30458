"""The access log: which requests it has, and what a line says."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from openengagement.api import access_log
from openengagement.api.access_log import AccessLog

SECRET = "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw"


def request(number, path="/insights/engagement/totals", method="POST", peer="203.0.113.9"):
    request_id = f"{number:016x}"
    return SimpleNamespace(path=path, method=method, peer=peer, request_id=request_id)


@pytest.fixture
def log(capsys):
    """Log requests with these statuses; return the lines."""

    def run(mode, *statuses, wait=False, **fields):
        async def note_all():
            made = AccessLog(mode)
            for number, status in enumerate(statuses):
                arrival = made.begin(request(number, **fields))
                code = "invalid_field" if status >= 400 else None
                made.note(arrival, status, code=code, size=7, took_s=0.0123)
            if wait:
                await asyncio.sleep(2 * access_log._FLUSH_S)
            else:
                made.flush()

        asyncio.run(note_all())
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return run


def test_a_refusal_is_found_by_its_request_id(log):
    (line,) = log("sampled", 400)[:1]
    assert {name: line[name] for name in ("event", "level", "request_id", "status", "code")} == {
        "event": "request",
        "level": "warning",
        "request_id": "0" * 16,
        "status": 400,
        "code": "invalid_field",
    }
    assert (line["method"], line["path"]) == ("POST", "/insights/engagement/totals")
    assert (line["bytes"], line["peer"]) == (7, "203.0.113.9")
    assert 0 <= line["ms"] < 1000


@pytest.mark.parametrize(
    ("mode", "served", "refused"), [("on", 250, 50), ("sampled", 3, 50), ("off", 0, 0)]
)
def test_how_many_requests_are_logged(log, mode, served, refused):
    statuses = [200, 204, 303, 200, 200, 429] * 50
    lines = log(mode, *statuses)
    assert sum(line["status"] < 400 for line in lines) == served
    assert sum(line["status"] >= 400 for line in lines) == refused
    assert all(("code" in line) == (line["status"] >= 400) for line in lines)


def test_lines_are_written_soon_by_themselves(log):
    assert len(log("on", 200, 200, wait=True)) == 2


def test_many_lines_are_written_before_they_take_much_memory(log, monkeypatch):
    monkeypatch.setattr(access_log, "_LINES_MAX", 10)
    assert len(log("on", *[200] * 95)) == 95


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/platform/v1/accounts/2126287304677921922", "/platform/v1/accounts/{id}"),
        ("/platform/v1/tweets/5", "/platform/v1/tweets/{id}"),
        ("/portal/apps/10000001/keys", "/portal/apps/{id}/keys"),
        ("/1.1/account/verify_credentials.json", "/1.1/account/verify_credentials.json"),
        ("/platform/v1/tweets/2126287304677921922,77777x", "/platform/v1/tweets/{id},{id}x"),
        (f"/oauth2/{SECRET}", "/oauth2/..."),
        (f"/{'a/' * 90}{SECRET}", f"/{'a/' * 90}..."),
        (f"/{'a/' * 90}{SECRET}/more", f"/{'a/' * 90}..."),
        ("/insights/engagement/28hr", "/insights/engagement/28hr"),
    ],
)
def test_ids_and_long_words_are_not_logged(log, path, shown):
    assert log("on", 200, path=path)[0]["path"] == shown


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("/\x9b31m", "/%9B31m"),  # CSI as one byte
        ("/\x1b[2J", "/%1B[2J"),
        ("/a\nb\r", "/a%0Ab%0D"),
        ("/\x7f\x85", "/%7F%85"),
        ("/caf\xe9%20", "/caf%E9%20"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(log, sent, shown):
    (line,) = log("on", 404, path=sent, peer=sent)
    assert (line["path"], line["peer"]) == (shown, shown)


def test_long_paths_do_not_fill_the_memory(log):
    access_log._hide.cache_clear()
    log("on", *[200] * 3, path="/" + "a/" * 50_000)
    assert access_log._hide.cache_info().currsize == 1
    log("on", 200, path="/" + "a/" * 60_000)
    assert access_log._hide.cache_info().currsize == 1


def test_long_values_are_shortened(log):
    (line,) = log("on", 200, path="/ab" * 9000, method="X" * 9000)
    assert len(json.dumps(line)) < 600
