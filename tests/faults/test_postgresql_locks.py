"""Locks in PostgreSQL whose holder is on a machine that loses its power."""

import random
import subprocess
from contextlib import closing

import pytest

from local_cluster.isolation import Network, can_isolate
from openengagement.postgresql import SessionLock
from support.ports import free_port
from support.postgresql import PostgresqlMissing, PostgresqlServer
from support.server_process import ServerFolder
from support.waiting import wait_for

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(not can_isolate(), reason="only root may make network namespaces"),
]


class Machine:
    """A network namespace, with a cable to an address of its own on this machine."""

    def __init__(self, folder):
        self.network = Network(folder, 1)
        network = f"198.18.{random.randrange(256)}"
        self.address = f"{network}.1"
        cable = f"oe{self.network.pid}"  # it goes with the namespace
        run(f"ip link add {cable} type veth peer name far netns {self.network.pid}")
        run(f"ip address add {self.address}/30 dev {cable}")
        run(f"ip link set {cable} up")
        run(f"ip address add {network}.2/30 dev far", *self.network.prefix)
        run("ip link set far up", *self.network.prefix)

    def fail(self):
        """Send and confirm nothing any more."""
        run("ip link set far down", *self.network.prefix)


def run(command, *prefix):
    subprocess.run([*prefix, *command.split()], check=True)


@pytest.fixture
def machine():
    folder = ServerFolder("oe-power-")
    yield Machine(folder)
    folder.remove()


@pytest.fixture
def server(machine):
    try:
        started = PostgresqlServer(listen_addresses=machine.address, port=str(free_port()))
    except PostgresqlMissing as error:
        pytest.skip(str(error))
    started.stop()
    with (started.folder.path / "data/pg_hba.conf").open("a") as access:
        access.write("host all all samenet trust\n")
    started.start()
    yield started
    started.remove()


def test_a_machine_without_power_loses_its_locks(machine, server):
    """Also if the server has sent it something since, which it repeats at first."""
    url = f"postgresql://test@{machine.address}:{server.port}/postgres"
    idle, listening = (
        machine.network.inside(lambda number=number: SessionLock(url, number)) for number in (1, 2)
    )
    listening._db.execute("LISTEN news")
    with closing(idle), closing(listening):
        assert not any(is_free(server, number) for number in (1, 2))
        machine.fail()
        server.run("NOTIFY news")
        wait_for(lambda: all(is_free(server, number) for number in (1, 2)), pause_s=0.5)


def is_free(server, number):
    with closing(SessionLock(server.url, number)) as lock:
        return lock.is_held()
