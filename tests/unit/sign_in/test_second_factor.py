"""Codes of an authenticator app: RFC 6238, steps of time, and where they end."""

from contextlib import closing

import pytest

from openengagement.auth.keyring import Keyring, generate_key
from openengagement.limits.opening import open_limits
from openengagement.registry.accounts import Account
from openengagement.registry.audit import Actor
from openengagement.registry.encrypted import reencrypt_secrets
from openengagement.registry.opening import open_registry
from openengagement.sign_in.passwords import TooManyGuesses
from openengagement.sign_in.second_factor import GUESSES, STEP_S, SecondFactors, draw_secret
from support.authenticator import code_at, wrong_code

NOW_S = 1_795_342_500
ANA = Actor("ana", 1)
# With a random one, a code could be that of another step by chance.
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


class Clock:
    now_s = NOW_S

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keyring():
    return Keyring([generate_key().encode()])


@pytest.fixture
def registry(tmp_path):
    with closing(open_registry(tmp_path)) as opened:
        opened.accounts.add_account(Account(1, "ana", NOW_S))
        yield opened


@pytest.fixture
def factors(registry, keyring, clock, tmp_path):
    with closing(open_limits(tmp_path)) as limits:
        yield SecondFactors(registry, keyring, limits=limits, issuer="Harbour & Co", now_s=clock)


@pytest.fixture
def secret(factors, clock):
    """The secret of a second factor that is on. The code of the step before was used."""
    step = clock.now_s // STEP_S - 1
    assert factors.confirm(ANA, SECRET, code=code_at(SECRET, step), session_id="s")
    return SECRET


def test_the_algorithm_is_that_of_rfc_6238():
    """Appendix B: the last six digits for SHA-1, at 59 s and in the year 2005."""
    seed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert code_at(seed, 59 // 30) == "287082"
    assert code_at(seed, 1_111_111_109 // 30) == "081804"


def test_the_uri_names_platform_and_person(factors):
    secret = draw_secret()
    proposal = factors.describe(secret, "ana")
    assert proposal.secret.replace(" ", "") == secret
    assert proposal.uri == (
        "otpauth://totp/Harbour%20%26%20Co:ana?digits=6"
        f"&secret={secret}&algorithm=SHA1&issuer=Harbour%20%26%20Co&period=30"
    )


@pytest.mark.parametrize(("beside", "accepted"), [(-2, False), (0, True), (1, True), (2, False)])
def test_codes_of_the_steps_beside_now(factors, secret, clock, beside, accepted):
    step = clock.now_s // STEP_S
    assert factors.verify(1, code_at(secret, step + beside)) is accepted


def test_a_code_is_accepted_once_and_then_no_earlier_one(factors, secret, clock):
    step = clock.now_s // STEP_S
    assert not factors.verify(1, code_at(secret, step - 1))  # turned it on
    assert factors.verify(1, code_at(secret, step + 1))
    assert not factors.verify(1, code_at(secret, step + 1))
    assert not factors.verify(1, code_at(secret, step))
    clock.now_s += 2 * STEP_S
    assert factors.verify(1, code_at(secret, step + 2))


def test_spaces_in_a_code(factors, secret, clock):
    code = code_at(secret, clock.now_s // STEP_S)
    assert factors.verify(1, f" {code[:3]} {code[3:]} ")


def test_limits_on_guesses_and_their_windows(factors, secret, clock):
    short, day = min(GUESSES), max(GUESSES)
    clock.now_s = clock.now_s // day * day  # all windows begin
    wrong = wrong_code(secret)
    for _ in range(GUESSES[day] // (GUESSES[short] + 1)):
        for _ in range(GUESSES[short]):
            assert not factors.verify(1, wrong)
        with pytest.raises(TooManyGuesses) as caught:
            factors.verify(1, wrong)
        assert 0 < caught.value.retry_after_s <= short
        clock.now_s += short
    with pytest.raises(TooManyGuesses) as caught:
        factors.verify(1, wrong)
    assert caught.value.retry_after_s > short  # until the day ends
    clock.now_s += caught.value.retry_after_s
    assert factors.verify(1, code_at(secret, clock.now_s // STEP_S))


def test_a_second_factor_that_is_on_is_not_replaced(factors, secret, clock):
    other, step = draw_secret(), clock.now_s // STEP_S
    assert factors.confirm(ANA, other, code=code_at(other, step), session_id="s") is None
    assert factors.verify(1, code_at(secret, step))


def test_accepted_codes_do_not_count(factors, secret, clock):
    for _ in range(2 * max(GUESSES.values())):
        clock.now_s += STEP_S
        assert factors.verify(1, code_at(secret, clock.now_s // STEP_S))


def test_the_secret_is_encrypted_again_under_a_new_key(factors, registry, keyring, secret, clock):
    newer = Keyring([generate_key().encode()])
    before = registry.second_factors.read(1).secret
    assert keyring.decrypts(before)
    reencrypt_secrets(registry.database, lambda old: newer.encrypt(keyring.decrypt(old)))
    stored = registry.second_factors.read(1).secret
    assert newer.decrypt(stored) == secret
    assert not keyring.decrypts(stored)


def test_an_account_without_a_factor(factors):
    assert not factors.is_on(1)
    assert not factors.verify(1, "123456")
    secret = draw_secret()
    assert factors.confirm(ANA, secret, code=wrong_code(secret), session_id="s") is None
    assert not factors.remove(1, actor=ANA)
