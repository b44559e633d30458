"""Sign-ins that are under way at once: strangers have their places, known browsers their own."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from starlette.responses import Response

from openengagement.portal.concurrency import Busy
from openengagement.portal.page_request import PageRequest
from openengagement.portal.password_check import PasswordCheck
from openengagement.portal.password_sign_in import PasswordSignIn

STRANGERS_MAX = 32
STRANGERS_THREADS = 2


class SlowPasswords:
    """Refuses every password of a stranger, but only after `answering` was set."""

    def __init__(self):
        self.answering = threading.Event()
        self.placed, self.verifying = threading.Semaphore(0), threading.Semaphore(0)

    def limit_guesses(self, _guess):
        self.placed.release()

    def verify(self, guess, _password):
        self.verifying.release()
        if guess.browser is None:
            assert self.answering.wait(60)
            return None
        return SimpleNamespace(account="alice", password_hash="")


class Page:
    """Stands in for the pages and sessions of a sign-in."""

    methods = SimpleNamespace(password=True)
    sessions = SimpleNamespace(known_browser=lambda request, _name: request.fields.get("known"))

    @staticmethod
    def complete(*_, **__):
        return Response("welcome")

    @staticmethod
    def show_form(*_, error, status):
        return Response(error, status_code=status)


@pytest.fixture
def passwords():
    return SlowPasswords()


@pytest.fixture
def sign_in(passwords):
    with ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(STRANGERS_THREADS + 1) as slow_pool:
        check = PasswordCheck(
            Page.sessions,
            passwords,
            pool=pool,
            slow_pool=slow_pool,
            strangers_threads=STRANGERS_THREADS,
        )
        yield PasswordSignIn(Page(), check)
        passwords.answering.set()


def guess_from(address, **fields):
    return PageRequest(
        path="/sign-in",
        params={},
        query={},
        fields={"screen_name": "alice", "password": "geese", **fields},
        cookies={},
        headers={},
        host="localhost",
        secure=False,
        address=address,
    )


async def fill(sign_in, passwords):
    """Start guesses of strangers until they hold every place and thread of theirs."""
    guesses = [guess_from(f"192.0.2.{number}") for number in range(STRANGERS_MAX)]
    begun = [asyncio.create_task(sign_in.submit(each)) for each in guesses]
    for _ in begun:
        await asyncio.to_thread(passwords.placed.acquire)
    for _ in range(STRANGERS_THREADS):
        await asyncio.to_thread(passwords.verifying.acquire)
    return begun


def test_strangers_who_fill_all_places_do_not_keep_known_browsers_out(sign_in, passwords):
    async def run():
        begun = await fill(sign_in, passwords)
        with pytest.raises(Busy):
            await sign_in.submit(guess_from("198.51.100.1"))
        for _ in range(3):
            known = await sign_in.submit(guess_from("198.51.100.1", known="a nonce"))
            assert known.body == b"welcome"
            assert passwords.verifying.acquire(blocking=False)
        assert not passwords.verifying.acquire(blocking=False), "strangers took one more thread"
        passwords.answering.set()
        assert [(await each).status_code for each in begun] == [403] * STRANGERS_MAX
        assert (await sign_in.submit(guess_from("198.51.100.1"))).status_code == 403

    asyncio.run(asyncio.wait_for(run(), 60))
