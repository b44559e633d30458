"""`serve` with an event log, or with mappings, that cannot be used."""

import pytest

from support.nats_server import NatsServer
from support.ports import HOST, free_port


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "OPENENGAGEMENT_INTAKE_LOG: is not set"),
        ({"intake_log": "nats://{nats}/NONE"}, "there is no stream NONE"),
        ({"intake_log": "nats://{nats}/MEMORY"}, "keeps its messages in memory"),
        ({"intake_log": "nats://{nats}/WILD"}, "add the option subject=NAME"),
        ({"intake_log": "nats://{nats}/WILD?subject=other"}, "does not have the subject other"),
        ({"intake_log": "nats://{nats}/WORK"}, "has the retention 'workqueue'"),
        ({"intake_log": "http://x"}, "the URL of the log is not like"),
        ({"intake": "maybe"}, "OPENENGAGEMENT_INTAKE"),
        ({"intake": "direct", "mappings": "likes"}, "OPENENGAGEMENT_MAPPINGS: write NAME=FILE"),
        ({"intake": "direct", "mappings": "a=b,a=c"}, "a is named twice"),
        ({"intake": "direct", "mappings": "a=/none.toml"}, "/none.toml: No such file"),
    ],
)
def test_a_server_that_cannot_take_batches_ends_with_a_sentence(
    run, nats, settings, says, monkeypatch
):
    for name, value in settings.items():
        monkeypatch.setenv(f"OPENENGAGEMENT_{name.upper()}", value.format(nats=nats))
    ended = run("serve", "--intake", settings.get("intake", "log"), "--port", str(free_port()))

    assert ended.code == 1
    assert says in ended.err
    assert "Traceback" not in ended.err


@pytest.fixture(scope="module")
def nats(tmp_path_factory):
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.add_stream("MEMORY", ["m"], storage="memory")
    server.add_stream("WILD", ["w.>"])
    server.add_stream("WORK", ["work"], retention="workqueue")
    yield f"{HOST}:{server.port}"
    server.stop()
