"""A temporary ZooKeeper server."""

import shutil
import socket
from pathlib import Path

from support.ports import HOST, free_port
from support.server_process import ServerFolder, ServerProcess
from support.sockets import read_all

# Debian's. Its manifest names the jars that it needs.
JAR = Path("/usr/share/java/zookeeper.jar")
MAIN = "org.apache.zookeeper.server.ZooKeeperServerMain"
# The server lives for a few tests: a small heap, no time spent on optimising code, and no file in
# /tmp/hsperfdata_*, which `kill -9` would leave there.
JAVA_OPTIONS = (
    *("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    "-XX:-UsePerfData",
)
# The data must survive the end of the process, but not of the machine: forceSync=no.
SETTINGS = {
    "tickTime": 500,
    "clientPortAddress": HOST,
    "maxClientCnxns": 0,
    "forceSync": "no",
    "admin.enableServer": "false",
    "4lw.commands.whitelist": "srvr",
}


class ZooKeeperMissing(Exception):
    """ZooKeeper cannot run here. The text says why."""


class ZooKeeper(ServerProcess):
    """One server, on a free port."""

    def __init__(self, folder: ServerFolder) -> None:
        java = shutil.which("java")
        if not (java and JAR.exists()):
            raise ZooKeeperMissing(
                "ZooKeeper is not installed "
                "(Debian: apt-get install libzookeeper-java default-jre-headless)"
            )
        self.port = free_port()
        config = folder.path / "zookeeper.cfg"
        settings = {**SETTINGS, "clientPort": self.port, "dataDir": folder.path / "zookeeper"}
        config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        command = [java, *JAVA_OPTIONS, "-cp", JAR, MAIN, config]
        super().__init__(folder, "zookeeper", command=command)

    def is_ready(self) -> bool:
        """Return whether it accepts sessions, which is later than its first answer."""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"srvr")
                return b"Mode: standalone" in read_all(connection)
        except OSError:
            return False
