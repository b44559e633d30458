"""A registry in a folder of its own, with an account and an app."""

import pytest

from openengagement.registry.accounts import Account
from openengagement.registry.apps import AppForm
from support.folders import open_new_registry

NOW_S = 1_795_342_500


@pytest.fixture
def registry(tmp_path):
    opened = open_new_registry(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def ana(registry):
    account = Account(1, "ana", NOW_S)
    registry.accounts.add_account(account)
    return account


@pytest.fixture
def app_id(registry, ana):
    form = AppForm(name="app", owner_id=ana.id, callbacks=[])
    return registry.apps.add_app(form, credentials=("key", b""), now_s=NOW_S)
