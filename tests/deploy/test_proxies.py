"""Caddy and nginx with the files of deploy/: a signed request of a client outside is verified."""

import os
import re
import shutil
import socket
import ssl
import subprocess
from contextlib import contextmanager

import pytest
import requests

from deploy.packages import ROOT
from support.calls import question, sign_as_app, sign_as_user
from support.ports import HOST, free_port, is_free
from support.server import Server
from support.waiting import PATIENCE_S, wait_for

pytestmark = [pytest.mark.heavy, pytest.mark.embedded]

CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
    "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
)
# The parts of nginx.conf that the test replaces, and what the whole file needs around it.
NGINX = """
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {sites}
}}
"""
# Caddy would ask the system to trust the authority of its own certificates, and serve HTTP/3 on
# the UDP port by which the test has reserved its TCP port.
CADDY = """{{
	skip_install_trust
	admin off
	http_port {port}
	servers {{
		protocols h1 h2
	}}
}}
"""
PATHS = (
    "/1.1/application/rate_limit_status.json?resources=oauth",
    "/1.1/application/rate_limit_status.json?resources=a%2Cb%20c+d&x=%7E&y=%C3%A9",
)


def program(name):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


class Nginx:
    """nginx with deploy/nginx.conf, its names and ports replaced by those of the test."""

    def __init__(self, folder, upstream):
        self.port, self.plain_port = free_port(), free_port()
        self.url = f"https://localhost:{self.port}"
        subprocess.run(CERTIFICATE.split(), cwd=folder, check=True, capture_output=True)
        self.authority = folder / "cert.pem"
        sites = (ROOT / "deploy" / "nginx.conf").read_text()
        for old, new in {
            "127.0.0.1:8080": f"{HOST}:{upstream}",
            "listen 443": f"listen {HOST}:{self.port}",
            "listen 80": f"listen {HOST}:{self.plain_port}",
            "engagement.example.com;": "localhost;",
            "/etc/letsencrypt/live/engagement.example.com/fullchain.pem": str(self.authority),
            "/etc/letsencrypt/live/engagement.example.com/privkey.pem": f"{folder}/key.pem",
        }.items():
            assert old in sites, old
            sites = sites.replace(old, new)
        file = folder / "nginx.conf"
        # The folders of tests belong to the user who runs them.
        user = "user root;" if os.geteuid() == 0 else ""
        file.write_text(NGINX.format(folder=folder, sites=sites, user=user))
        self.command = [program("nginx"), "-c", str(file)]
        self.check = [*self.command, "-t"]
        self.environment = dict(os.environ)


class Caddy:
    """Caddy with deploy/Caddyfile, which makes a certificate for localhost itself."""

    def __init__(self, folder, upstream):
        self.port, self.plain_port = free_port(), free_port()
        self.url = f"https://localhost:{self.port}"
        file = folder / "Caddyfile"
        site = (ROOT / "deploy" / "Caddyfile").read_text()
        file.write_text(CADDY.format(port=self.plain_port) + site)
        self.authority = folder / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "SITE": self.url,
            "UPSTREAM": f"{HOST}:{upstream}",
        }
        options = ["--config", str(file), "--adapter", "caddyfile"]
        self.command = [program("caddy"), "run", *options]
        self.check = [program("caddy"), "validate", *options]


@contextmanager
def running(proxy, folder):
    checked = subprocess.run(
        proxy.check, env=proxy.environment, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(proxy.command, env=proxy.environment, stdout=log, stderr=log)
    try:
        wait_for(
            lambda: not is_free(proxy.port) and proxy.authority.exists() and has_certificate(proxy),
            pause_s=0.05,
            reason=(folder / "log").read_text,
        )
        yield proxy
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def has_certificate(proxy):
    """Return whether it has one for its name. Caddy makes it after it has opened the port."""
    try:
        trusting = ssl.create_default_context(cafile=proxy.authority)
        with socket.create_connection(("localhost", proxy.port), PATIENCE_S) as connection:
            trusting.wrap_socket(connection, server_hostname="localhost").close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module", params=[Nginx, Caddy])
def proxy(request, world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("proxy")
    with Server(world, settings={"trusted_proxies": HOST, "hosts": "localhost"}) as server:
        made = request.param(folder, server.port)
        made.server = server
        with running(made, folder):
            yield made


@pytest.fixture
def send(proxy):
    """Send a request through the proxy: method, path, and what `requests` takes."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(proxy.authority)

        def request(method, path, **options):
            return session.request(method, f"{proxy.url}{path}", timeout=PATIENCE_S, **options)

        yield request


def test_a_signed_body_is_verified(proxy, send, world):
    answer = send(
        "POST",
        "/insights/engagement/totals",
        json=question("111", types=("impressions",)),
        auth=sign_as_user(world.main),
    )
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"g": {"111": {"impressions": "40"}}}


@pytest.mark.parametrize("path", PATHS)
def test_a_signed_query_is_verified(send, world, path):
    answer = send("GET", path, auth=sign_as_user(world.main))
    assert answer.status_code == 200, answer.text


def test_a_signed_form_is_verified(send, world):
    answer = send(
        "POST",
        "/oauth/request_token",
        data={"oauth_callback": "oob", "x": "a b~é"},
        auth=sign_as_app(world.main),
    )
    assert answer.status_code == 200, answer.text
    assert "oauth_callback_confirmed=true" in answer.text


def test_forwarded_headers_of_the_client_do_not_count(proxy, send, world):
    forged = {"X-Forwarded-Host": "elsewhere", "X-Forwarded-Proto": "http"}
    answer = send("GET", PATHS[0], auth=sign_as_user(world.main), headers=forged)
    assert answer.status_code == 200, answer.text
    before = proxy.server.log_bytes
    forged = {"X-Forwarded-For": "203.0.113.9"}
    answer = send("GET", PATHS[0], headers=forged)
    assert answer.status_code == 400
    wait_for(lambda: "rate_limit_status" in proxy.server.log(since=before))
    assert "203.0.113.9" not in proxy.server.log(since=before)


def test_plain_http_is_sent_to_tls(proxy):
    answer = requests.get(
        f"http://localhost:{proxy.plain_port}/portal?x=1", allow_redirects=False, timeout=PATIENCE_S
    )
    assert answer.status_code in {301, 308}
    assert re.fullmatch(r"https://localhost(:\d+)?/portal\?x=1", answer.headers["location"])


def test_a_large_batch_passes(send, world):
    """nginx alone would refuse a body of more than 1 MiB."""
    line = '{"tweet_id": "111", "type": "replies", "at": "2024-05-01T13:00:00Z", "pad": "%s"}\n'
    answer = send(
        "POST",
        "/platform/v1/events",
        data=line % ("x" * 3_000_000),
        headers={
            "Authorization": f"Bearer {world.platform_key}",
            "Content-Type": "application/x-ndjson",
        },
    )
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
