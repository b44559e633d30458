"""A registry in a folder of its own, and an account to own things."""

import pytest

from openengagement.registry.registry import Account, Registry

NOW_S = 1_795_342_500


@pytest.fixture
def registry(tmp_path):
    opened = Registry(tmp_path / "registry.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def ana(registry):
    account = Account(1, "ana", protected=False, role="member")
    registry.add_account(account, now_s=NOW_S)
    return account
