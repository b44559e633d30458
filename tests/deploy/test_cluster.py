"""The files of deploy/cluster are valid, and agree with each other. No container is run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
import yaml

from deploy.packages import ROOT
from deploy.test_systemd import ANALYZE, EXPOSURE_MAX
from openengagement.settings import load_settings
from support.nats_server import find_executable

pytestmark = pytest.mark.heavy

FILES = ROOT / "deploy" / "cluster"
MANIFESTS = sorted((FILES / "kubernetes").glob("*.yaml"))
PROGRAM = "/usr/local/openengagement/bin/openengagement"
PASSWORDS = ("POSTGRES_PASSWORD", "CLICKHOUSE_PASSWORD", "NATS_PASSWORD", "SERVER_KEYS")


def beside_python(name):
    return Path(sys.executable).with_name(name)


def run(*command, **options):
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def compose():
    return yaml.safe_load((FILES / "compose.yaml").read_text())


def manifests():
    """Return all resources by kind and name."""
    documents = [each for file in MANIFESTS for each in yaml.safe_load_all(file.read_text())]
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


def containers_of(resource):
    return resource["spec"]["template"]["spec"]["containers"]


def fill_in(text):
    """Replace the variables of compose.yaml."""
    return re.sub(r"\$\{[^}]*\}", "secret", text)


def hosts_of(url):
    hosts = urlsplit(fill_in(url)).netloc.rpartition("@")[2]
    return [host.partition(":")[0] for host in hosts.split(",")]


def shards():
    """Return the hosts of each shard in clickhouse.xml."""
    tree = ET.parse(FILES / "clickhouse.xml")
    return [
        [host.text for host in shard.iter("host")]
        for shard in tree.iterfind("remote_servers/main/shard")
    ]


@pytest.mark.parametrize("file", [ROOT / "compose.yaml", FILES / "compose.yaml"], ids=str)
def test_compose_files_fit_their_schema(file):
    run(beside_python("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", file)


def test_manifests_fit_the_schemas_of_kubernetes():
    printed = run(beside_python("kubernetes-validate"), "--strict", *MANIFESTS)
    assert printed.count(" passed ") == len(manifests())


def test_kustomization_names_every_manifest_but_the_secret():
    kustomization = yaml.safe_load((FILES / "kustomization.yaml").read_text())
    named = set(kustomization["resources"])
    assert named == {
        f"kubernetes/{file.name}" for file in MANIFESTS if file.name != "secret.example.yaml"
    }
    (generated,) = kustomization["configMapGenerator"]
    assert all((FILES / name).exists() for name in generated["files"])


def test_every_shard_has_two_replicas_which_compose_numbers_as_its_environment_says():
    services = compose()["services"]
    expected = {}
    for number, hosts in enumerate(shards(), start=1):
        for replica, host in enumerate(hosts, start=1):
            expected[host] = (str(number), str(replica))
    found = {}
    for name, service in services.items():
        if name.startswith("clickhouse-"):
            (host,) = service["networks"]["default"]["aliases"]
            environment = service["environment"]
            assert environment["INTERSERVER_HOST"] == host
            found[host] = (environment["SHARD"], environment["REPLICA"])
    assert found == expected
    assert len(expected) == 6


def test_kubernetes_numbers_them_alike():
    (script,) = containers_of(manifests()["StatefulSet", "clickhouse"])[0]["args"]
    numbering = script.replace("exec /entrypoint.sh", 'echo "$INTERSERVER_HOST $SHARD $REPLICA"')
    found = {}
    for number in range(6):
        environment = {**os.environ, "HOSTNAME": f"clickhouse-{number}"}
        host, *numbers = run("bash", "-ec", numbering, env=environment).split()
        found[host] = tuple(map(int, numbers))
    assert found == {
        host: (shard, replica)
        for shard, hosts in enumerate(shards(), start=1)
        for replica, host in enumerate(hosts, start=1)
    }


def test_the_urls_name_every_server_of_the_configuration():
    servers = sorted(host for hosts in shards() for host in hosts)
    secret = manifests()["Secret", "openengagement"]["stringData"]
    nodes = [compose()["services"]["api-0"]["environment"], secret]
    for environment in nodes:
        assert sorted(hosts_of(environment["OPENENGAGEMENT_STORE"])) == servers
    routes = re.findall(r"nats://([\w.-]+):6222", (FILES / "nats.conf").read_text())
    consumers = [compose()["services"]["consumer-0"]["command"][1], secret["EVENTS_URL"]]
    for url in consumers:
        assert hosts_of(url) == routes
    assert len(routes) == 3


@pytest.mark.parametrize("where", ["compose", "kubernetes", "systemd"])
def test_the_settings_exist(where):
    """A server refuses to start with an unknown setting, or with one that does not fit."""
    if where == "compose":
        variables = compose()["services"]["api-0"]["environment"]
    elif where == "kubernetes":
        variables = manifests()["Secret", "openengagement"]["stringData"]
    else:
        lines = (FILES / "systemd" / "openengagement.env").read_text().splitlines()
        variables = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    plain = {name: fill_in(value) for name, value in variables.items()}
    settings = load_settings({k: v for k, v in plain.items() if k.startswith("OPENENGAGEMENT_")})
    assert settings.registry
    assert settings.store


def test_secrets_are_required_and_the_examples_are_empty():
    text = (FILES / "compose.yaml").read_text()
    used = set(re.findall(r"\$\{(\w+)(:\?)?", text))
    assert used == {(name, ":?") for name in (*PASSWORDS, "SITE")}
    example = (FILES / "example.env").read_text().splitlines()
    values = dict(line.split("=", 1) for line in example if not line.startswith("#"))
    assert set(values) == {*PASSWORDS, "SITE"}
    assert {values[name] for name in PASSWORDS} == {""}


def test_nodes_have_few_rights():
    for service in ("api-0", "api-1", "consumer-0", "consumer-1", "set-up"):
        node = compose()["services"][service]
        assert (node["read_only"], node["cap_drop"]) == (True, ["ALL"])
        assert "ports" not in node
    for key in (("Deployment", "api"), ("Deployment", "consumer"), ("Job", "set-up")):
        pod = manifests()[key]["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_nats_accepts_its_configuration():
    environment = {**os.environ, "NATS_PASSWORD": "secret"}
    printed = run(find_executable(), "--config", FILES / "nats.conf", "-t", env=environment)
    assert "is valid" in printed


def test_caddy_accepts_its_configuration(tmp_path):
    caddy = shutil.which("caddy")
    if not caddy:
        pytest.skip("caddy is not installed")
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    environment |= {"SITE": "engagement.example.com", "UPSTREAMS": "10.0.0.1:8080 10.0.0.2:8080"}
    command = ["validate", "--config", FILES / "Caddyfile", "--adapter", "caddyfile"]
    assert "Valid configuration" in run(caddy, *command, env=environment)


@pytest.fixture
def units(tmp_path):
    """The units of API node and consumer, with the program of the tests."""
    program = str(beside_python("openengagement"))
    texts = {
        "openengagement.service": ROOT / "deploy" / "openengagement.service",
        "openengagement.service.d/node.conf": FILES / "systemd" / "node.conf",
        "openengagement-consumer.service": FILES / "systemd" / "openengagement-consumer.service",
    }
    for name, file in texts.items():
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(file.read_text().replace(PROGRAM, program))
    return tmp_path


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")
@pytest.mark.parametrize("name", ["openengagement.service", "openengagement-consumer.service"])
def test_systemd_accepts_the_units(units, name):
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"}
    command = [ANALYZE, "verify", units / name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    complaints = [line for line in done.stderr.splitlines() if "openengagement" in line]
    assert (done.returncode, complaints) == (0, [])


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")
def test_a_consumer_has_few_rights(units):
    unit = units / "openengagement-consumer.service"
    (rated,) = re.findall(
        r"Overall exposure level for .*: ([0-9.]+)",
        run(ANALYZE, "security", "--offline=yes", unit),
    )
    assert float(rated) <= EXPOSURE_MAX
