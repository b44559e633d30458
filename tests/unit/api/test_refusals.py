"""The remedies of refused calls: complete, in words, and without credentials."""

import json

import pytest

from openengagement import errors
from openengagement.api.refusals import REMEDIES, find_remedy, log_error
from openengagement.errors import ApiError
from openengagement.http.request import Request
from openengagement.settings import ENV_PREFIX, load_settings
from support.cases import cases

SECRET = "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw"


def request(authorization="", path="/insights/engagement/totals"):
    return Request(
        method="POST",
        path=path,
        query="",
        headers=[],
        fields={b"authorization": (authorization,)} if authorization else {},
        scheme="http",
        host="127.0.0.1:8080",
        peer="127.0.0.1",
        secure=True,
    )


def kinds(kind):
    return [kind, *(each for below in kind.__subclasses__() for each in kinds(below))]


@cases("kind", kinds(ApiError), ids=lambda kind: kind.code)
def test_every_refusal_has_a_remedy(kind):
    error = kind.__new__(kind)
    remedy = find_remedy(error, request())
    assert remedy[0].isupper() or remedy.startswith("docs/")
    assert len(remedy) > 25


def test_the_settings_that_remedies_name_exist():
    words = {word.strip(".,;:") for text in REMEDIES.values() for word in text.split()}
    named = {word.partition("=")[0] for word in words if word.startswith(ENV_PREFIX)}
    assert len(named) > 8
    for name in named:
        with pytest.raises(ValueError, match=r"write (true|one of|a whole|networks)|'no'|TRUSTED"):
            load_settings({name: "no"})


def logged(capsys, error, **fields):
    log_error(error, request(**fields), request_id="1", refused_with=error.status)
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_holds_status_code_reason_and_remedy(capsys):
    (line,) = logged(capsys, errors.RateLimited())
    assert line.pop("level") == "warning"
    assert line.pop("process") == "command"
    assert {"time", "pid"} <= set(line)
    assert {name: line[name] for name in line if name not in {"time", "pid"}} == {
        "event": "call_refused",
        "status": 429,
        "code": "rate_limited",
        "method": "POST",
        "path": "/insights/engagement/totals",
        "reason": "Rate limit exceeded",
        "remedy": REMEDIES[errors.RateLimited],
        "request_id": "1",
    }


def test_an_error_without_text_has_a_reason(capsys):
    (line,) = logged(capsys, errors.NotFound(), path="/nothing")
    assert (line["reason"], line["path"]) == ("not found", "/nothing")


@pytest.mark.parametrize("place", ["path", "text", "authorization"])
def test_credentials_are_not_logged(capsys, place):
    if place == "text":
        lines = logged(capsys, errors.InvalidField(f"tweet_ids: {SECRET!r} is not a number"))
    elif place == "path":
        lines = logged(capsys, errors.NotFound(), path=f"/oauth2/{SECRET}/x")
    else:
        header = f'OAuth oauth_nonce="{SECRET}", oauth_timestamp="{SECRET}"'
        lines = logged(capsys, errors.NonceUsed(), authorization=header)
    assert SECRET[:24] not in json.dumps(lines)


def test_long_texts_are_shortened(capsys):
    (line,) = logged(capsys, errors.NotFound("ab " * 9000), path="/ab" * 9000)
    assert len(json.dumps(line)) < 1500


def test_a_store_that_fails_has_its_own_line_too(capsys):
    error = errors.StoreUnavailable("counters", "the disk is gone")
    first, second = logged(capsys, error)
    assert (first["event"], first["reason"]) == ("store_unavailable", "the disk is gone")
    assert (second["event"], second["status"]) == ("call_refused", 503)


def test_without_the_setting_only_failures_are_logged(capsys):
    log_error(errors.NonceUsed(), request(), request_id="1")
    assert capsys.readouterr().err == ""
    log_error(RuntimeError(SECRET), request(), request_id="1")
    assert '"event": "request_failed"' in capsys.readouterr().err


def test_a_failure_names_no_account(capsys):
    path = "/platform/v1/accounts/2126287304677921922"
    log_error(RuntimeError(SECRET), request(path=path), request_id="1")
    assert json.loads(capsys.readouterr().err)["path"] == "/platform/v1/accounts/{id}"
