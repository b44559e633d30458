"""`make cluster`: run a local cluster with the sandbox's engagement, until a signal ends it."""

import argparse
import json
import signal
import sys
import threading
import time
from pathlib import Path

from local_cluster.cluster import LocalCluster, local_cluster, write_folder
from local_cluster.engagement import load_engagement
from local_cluster.nodes import CaddyMissing
from openengagement.cli.sandbox_output import demo_fields, describe_demo, make_environment
from openengagement.sandbox.demo import Demo
from openengagement.sandbox.seed import Recipe
from support.clickhouse import ClickHouseMissing
from support.ports import is_free
from support.postgresql import PostgresqlMissing


def main() -> int:
    """Run the command. Return its exit code."""
    options = _parse()
    if options.port and not is_free(options.port):
        return _fail(f"port {options.port} is in use; choose another with PORT=")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        _run(options)
    except (ClickHouseMissing, PostgresqlMissing, CaddyMissing, OSError, ValueError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        pass
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("--higgs", type=Path, help="the real week, examples/higgs")
    parser.add_argument("--port", type=int, default=0, help="of the balancer")
    parser.add_argument("--json", action="store_true", help="print one line of JSON when ready")
    return parser.parse_args()


def _stop(*_: object) -> None:
    # A second signal must not interrupt the removal of processes and files.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt  # event loops pass it on


def _fail(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 1


def _run(options: argparse.Namespace) -> None:
    began_s = time.monotonic()
    _say("Starting ClickHouse, ZooKeeper, PostgreSQL, NATS, and the nodes ...")
    with local_cluster(port=options.port) as cluster:
        _say("Sending engagement through the log ...")
        demo = load_engagement(cluster, Recipe(options.higgs))
        if options.json:
            print(json.dumps(_fields(cluster, demo)), flush=True)
        else:
            print(_describe(cluster, demo, higgs=options.higgs), flush=True)
            print(f"Ready after {time.monotonic() - began_s:.0f} s. Ctrl-C stops it.", flush=True)
        threading.Event().wait()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _fields(cluster: LocalCluster, demo: Demo) -> dict[str, object]:
    return {
        "url": cluster.balancer.url,
        "api": [node.url for node in cluster.api],
        "balancer": cluster.balancer.url,
        "log": cluster.log.servers,
        **demo_fields(demo),
    }


def _describe(cluster: LocalCluster, demo: Demo, *, higgs: Path | None) -> str:
    url = cluster.balancer.url
    environment = write_folder(cluster, "credentials.env", make_environment(demo, url))
    nodes = "\n".join(f"  API node             {node.url}" for node in cluster.api)
    text = describe_demo(demo, url, environment=environment, higgs=higgs)
    return f"""
Open Engagement cluster on {url}

{nodes}
  log                  {", ".join(cluster.log.servers)} (publish to events.0 or events.1)
{text}"""


if __name__ == "__main__":
    sys.exit(main())
