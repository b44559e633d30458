"""The message that a webhook receives, and its signature."""

import json
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from openengagement.auth.credentials import draw_webhook_secret
from openengagement.notifications.message import Message, sign_message
from openengagement.notifications.retrying import ATTEMPTS_MAX, PAUSES_S, decide_pause

MESSAGE = Message("msg_1", "app.waiting", 1_795_342_500, '{"name":"Tide é Charts"}')


def test_the_body():
    expected = {
        "type": "app.waiting",
        "timestamp": "2026-11-22T10:15:00Z",
        "data": {"name": "Tide é Charts"},
    }
    assert json.loads(MESSAGE.body) == expected


def test_the_signature_of_a_known_message():
    """The example of the specification's libraries."""

    class Known(Message):
        body = b'{"test": 2432232314}'

    message = Known("msg_p5jXN8AQM9LWM0D4loKWxJek", "", 0, "")
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = sign_message(message, [secret], now_s=1_614_265_330)
    assert signed == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_library_of_the_specification_verifies_it():
    old, new, other = (draw_webhook_secret() for _ in range(3))
    headers = sign_message(MESSAGE, [new, old], now_s=int(time.time()))
    for secret in (old, new):
        assert Webhook(secret).verify(MESSAGE.body, headers) == json.loads(MESSAGE.body)
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(MESSAGE.body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(MESSAGE.body + b" ", headers)


def test_pauses_grow_and_end():
    for attempts, pause_s in enumerate(PAUSES_S, start=1):
        found = decide_pause(attempts)
        assert 0.8 * pause_s - 1 <= found <= 1.2 * pause_s + 1
    assert decide_pause(ATTEMPTS_MAX) is None
    assert len({decide_pause(ATTEMPTS_MAX - 1) for _ in range(20)}) > 1
    assert 2 * 86_400 < sum(PAUSES_S) < 3 * 86_400
