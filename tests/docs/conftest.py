"""What the tests of the documentation share."""

import pytest

from support.documented import Shell


@pytest.fixture
def shell(tmp_path):
    running = Shell(tmp_path)
    yield running
    running.close()
