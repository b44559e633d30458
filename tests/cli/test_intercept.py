"""`sandbox --intercept`: unmodified clients reach the sandbox, and nothing else, by environment.

The clients in tests/interop/intercepted.* have built-in hosts, like real ones.
"""

import json
import os
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from oauthlib.oauth1 import Client
from requests_oauthlib import OAuth1

from faults.crashing import open_session
from openengagement.sandbox.forward_proxy import HOSTS
from support.cli import call_command, server_environment
from support.person import Person
from support.ports import HOST, free_port
from support.sandbox import Sandbox, sandbox_in
from support.waiting import PATIENCE_S

PASSWORD = "nine lighthouses and a paper boat"
CLIENTS = Path(__file__).parents[1] / "interop"
DATA_API = "https://data-api.twitter.com/insights/engagement/totals"
ONLY_THESE = f"This proxy answers CONNECT to port 443 of {', '.join(HOSTS)} only"
CURL, NODE, RUBY = (shutil.which(name) for name in ("curl", "node", "ruby"))
HAS_RUBY_OAUTH = (
    RUBY is not None and subprocess.run([RUBY, "-roauth", "-e", ""], check=False).returncode == 0
)
VARIABLES = {
    "HTTPS_PROXY",
    "https_proxy",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "NODE_USE_ENV_PROXY",
    "PERL_LWP_SSL_CA_FILE",
    "PERL_LWP_ENV_PROXY",
    "PHP_INI_SCAN_DIR",
    "JAVA_TOOL_OPTIONS",
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """A sandbox shared by tests that do not change it; `printed` is its `--json` output."""
    with sandbox_in(tmp_path_factory.mktemp("intercept") / "a b") as one:
        one.printed = one.start_with_json()
        yield one


@pytest.fixture
def demo(sandbox):
    return sandbox.printed


@pytest.fixture
def question(demo):
    """A request of the demo author about an own Tweet."""
    return {
        "tweet_ids": demo["tweet_ids"][:1],
        "engagement_types": ["favorites", "impressions"],
        "groupings": {"g": {"group_by": ["tweet.id", "engagement.type"]}},
    }


@pytest.fixture
def figures(sandbox, demo, question):
    """The response over plain HTTP."""
    keys = ("consumer_key", "consumer_secret", "access_token", "access_token_secret")
    with open_session() as session:
        answer = session.post(
            f"{sandbox.url}/insights/engagement/totals",
            json=question,
            auth=OAuth1(*(demo[key] for key in keys)),
            timeout=PATIENCE_S,
        )
    assert answer.status_code == 200, answer.text
    assert int(answer.json()["g"][demo["tweet_ids"][0]]["impressions"]) > 0
    return answer.json()


@pytest.fixture
def run_client(sandbox, demo, question):
    """Run an unmodified client in a shell that sourced the file; return its JSON output."""
    credentials = {
        name.upper(): demo[name]
        for name in ("consumer_key", "consumer_secret", "access_token", "access_token_secret")
    }

    def run(*command, text=None):
        file = shlex.quote(demo["intercept"]["environment_file"])
        done = subprocess.run(
            ["/bin/sh", "-c", f". {file} && {shlex.join(map(str, command))}"],
            input=json.dumps(question) if text is None else text,
            capture_output=True,
            text=True,
            check=False,
            env=server_environment() | credentials,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def intercepted(demo):
    """A session that uses the proxy and trusts only the sandbox's authority."""
    with open_session() as session:
        session.proxies = {"https": demo["intercept"]["proxy"]}
        session.verify = demo["intercept"]["certificate_authority"]
        yield session


# Unmodified clients.


def test_python_clients_reach_the_sandbox(run_client, demo, figures):
    found = run_client(sys.executable, CLIENTS / "intercepted.py")

    assert found["signed"] == dict.fromkeys(HOSTS, figures)
    assert found["bearer"] == f"Bearer {demo['bearer_token']}"
    tweet_id = demo["tweet_ids"][0]
    favorites = {"g": {tweet_id: {"favorites": figures["g"][tweet_id]["favorites"]}}}
    assert found["httpx"] == [200, "HTTP/1.1", favorites]
    elsewhere = found["elsewhere"]
    assert elsewhere.pop("http://api.twitter.com/") == 403
    for error in elsewhere.values():
        assert f"Tunnel connection failed: 403 {ONLY_THESE}" in error


@pytest.mark.heavy
@pytest.mark.skipif(CURL is None, reason="curl is not installed")
def test_curl_reaches_the_sandbox(run_client, demo, figures):
    bearer = f"Authorization: Bearer {demo['bearer_token']}"
    question = {
        "tweet_ids": demo["tweet_ids"][:1],
        "engagement_types": ["favorites"],
        "groupings": {"g": {"group_by": ["tweet.id"]}},
    }
    command = [CURL, "-sS", "--compressed", "--http2", "--data", "@-", "-H", bearer, DATA_API]
    found = run_client(*command, text=json.dumps(question))
    tweet_id = demo["tweet_ids"][0]
    assert found == {"g": {tweet_id: figures["g"][tweet_id]["favorites"]}}


@pytest.mark.heavy
@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.skipif(
    not (CLIENTS / "node_modules" / "oauth-1.0a").is_dir(),
    reason="oauth-1.0a is not installed; run `make interop`",
)
def test_node_reaches_the_sandbox(run_client, figures):
    found = run_client(NODE, CLIENTS / "intercepted.mjs")
    assert (found["status"], found["body"]) == (200, figures)
    assert found["refused"] != "reached"


@pytest.mark.heavy
@pytest.mark.skipif(not HAS_RUBY_OAUTH, reason="ruby's oauth is not installed (Debian: ruby-oauth)")
def test_ruby_reaches_the_sandbox(run_client, figures):
    found = run_client(RUBY, CLIENTS / "intercepted.rb")
    assert (found["status"], found["body"]) == (200, figures)
    assert ONLY_THESE in found["refused"]


def test_the_manager_can_enable_the_waiting_app(sandbox, demo):
    """Every sandbox prints the manager's credentials."""
    with Person(sandbox.url, demo["manager"], demo["manager_password"]) as manager:
        page = manager.sign_in(manager.open("/sign-in?return_to=/manage"))
        assert page.url == f"{sandbox.url}/manage"
        form = page.form_with("per_minute")
        page = manager.submit(page, form, decision="enable")
        assert page.text("notice") == "Harbour Charts is enabled. Its next request is answered."


def test_tweepy_gets_a_token_by_pin(sandbox, demo):
    """The client uses its built-in hosts; the person uses plain HTTP."""
    call_command(sandbox.folder, "account", "add", "visitor")
    call_command(sandbox.folder, "account", "password", "visitor", "--stdin", stdin=PASSWORD)
    app = call_command(sandbox.folder, "app", "add", "Desk", "--owner", demo["screen_name"])
    keys = {name.upper(): app[name] for name in ("consumer_key", "consumer_secret")}
    tweepy = subprocess.Popen(
        [sys.executable, CLIENTS / "intercepted_pin.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=server_environment() | demo["intercept"]["environment"] | keys,
    )
    with Person(sandbox.url, "visitor", PASSWORD) as visitor, tweepy:
        began = urlsplit(tweepy.stdout.readline().strip())
        assert f"{began.scheme}://{began.netloc}{began.path}" == (
            "https://api.twitter.com/oauth/authorize"
        )
        pin = visitor.authorize_pin(f"{began.path}?{began.query}")
        out, err = tweepy.communicate(f"{pin}\n", timeout=PATIENCE_S)
    assert tweepy.returncode == 0, err
    account, limits = json.loads(out)
    assert account["screen_name"] == "visitor"
    found = limits["resources"]["account"]["/account/verify_credentials"]
    assert (found["limit"], found["remaining"]) == (75, 74)


# Output and files.


def test_the_callback_of_the_demo_app_is_printed(sandbox, demo):
    """It is registered, so a client can send it at once."""
    assert demo["callback"] == "http://127.0.0.1:8081/callback"
    keys = (demo["consumer_key"], demo["consumer_secret"])
    with open_session() as session:
        for callback, status in ((demo["callback"], 200), (f"{demo['callback']}?a=1", 403)):
            answer = session.post(
                f"{sandbox.url}/oauth/request_token",
                auth=OAuth1(*keys, callback_uri=callback),
                timeout=PATIENCE_S,
            )
            assert answer.status_code == status, answer.text


def test_the_sandbox_logs_refused_calls(sandbox, demo, intercepted):
    """On both of its servers, and without any of its credentials."""
    answers = [
        intercepted.post(DATA_API, timeout=PATIENCE_S),
        requests.post(f"{sandbox.url}/oauth2/token", timeout=PATIENCE_S),
    ]
    log = sandbox.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if '"call_refused"' in line]
    by_id = {line["request_id"]: line for line in lines}
    found = [by_id[answer.headers["x-request-id"]] for answer in answers]
    assert [line["code"] for line in found] == ["unknown_authorization_type", "unverified_client"]
    assert all(line["remedy"] for line in found)
    for line in lines:
        for name in ("consumer_key", "consumer_secret", "access_token_secret", "bearer_token"):
            assert demo[name] not in json.dumps(line)


def test_json_output_describes_the_interception(sandbox, demo):
    found = demo["intercept"]
    proxy = f"http://{HOST}:{sandbox.ports['intercept-port']}"
    assert demo["url"] == sandbox.url
    assert (found["proxy"], found["hosts"]) == (proxy, list(HOSTS))
    assert set(found["environment"]) == VARIABLES
    assert found["environment"]["HTTPS_PROXY"] == proxy
    authority = sandbox.folder.resolve() / "authority" / "ca.pem"
    assert found["environment"]["REQUESTS_CA_BUNDLE"] == str(authority)
    assert found["certificate_authority"] == str(authority)


def test_the_environment_file_sets_the_same_variables(demo):
    file = Path(demo["intercept"]["environment_file"])
    assert file.stat().st_mode & 0o777 == 0o600
    assert " " in str(file), "the test needs a path with a space"
    done = subprocess.run(
        ["/bin/sh", "-euc", f". {shlex.quote(str(file))} && exec env -0"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "https_proxy": "http://proxy.example:1"},
    )
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    expected = demo["intercept"]["environment"]
    assert {name: found[name] for name in VARIABLES} == expected


def test_certificates_and_keys_are_private(sandbox):
    modes = {path.name: path.stat().st_mode & 0o777 for path in sandbox.folder.glob("authority/*")}
    assert modes == dict.fromkeys(("ca.pem", "ca.key", "leaf.pem", "leaf.key"), 0o600)


# Signatures and encryption.


@pytest.mark.parametrize(("scheme", "status"), [("https", 200), ("http", 401)])
def test_the_signature_is_checked_for_https(intercepted, demo, question, scheme, status):
    client = Client(
        demo["consumer_key"],
        client_secret=demo["consumer_secret"],
        resource_owner_key=demo["access_token"],
        resource_owner_secret=demo["access_token_secret"],
    )
    _, headers, _ = client.sign(DATA_API.replace("https", scheme), "POST")
    answer = intercepted.post(DATA_API, json=question, headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["x-error-code"] == "invalid_signature"


def test_clients_that_do_not_trust_the_authority_refuse_the_certificate(intercepted):
    intercepted.verify = True
    with pytest.raises(requests.exceptions.SSLError):
        intercepted.get("https://api.twitter.com/health", timeout=PATIENCE_S)


def shake_hands(sandbox, host="api.x.com", **options):
    """Do a strict TLS handshake through the proxy; return the ALPN protocol and the TLS version."""
    trusting = ssl.create_default_context(
        cafile=sandbox.printed["intercept"]["certificate_authority"]
    )
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    for name, value in options.items():
        if name == "alpn":
            trusting.set_alpn_protocols(value)
        else:
            setattr(trusting, name, value)
    with socket.create_connection(
        (HOST, sandbox.ports["intercept-port"]), timeout=PATIENCE_S
    ) as plain:
        plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
        assert plain.recv(100).startswith(b"HTTP/1.1 200 ")
        with trusting.wrap_socket(plain, server_hostname=host) as tls:
            return tls.selected_alpn_protocol(), tls.version()


@pytest.mark.parametrize("host", HOSTS)
def test_strict_clients_accept_the_certificate(sandbox, host):
    assert shake_hands(sandbox, host) == (None, "TLSv1.3")


def test_only_http_1_1_is_offered(sandbox):
    assert shake_hands(sandbox, alpn=["h2", "http/1.1"])[0] == "http/1.1"
    with pytest.raises(ssl.SSLError, match=r"(?i)alert no application protocol"):
        shake_hands(sandbox, alpn=["h2"])


def test_tls_1_2_is_accepted(sandbox):
    assert shake_hands(sandbox, maximum_version=ssl.TLSVersion.TLSv1_2)[1] == "TLSv1.2"


# Access.


def test_it_listens_on_loopback_only(sandbox):
    assert sandbox.listening() == {f"0100007F:{port:04X}" for port in sandbox.ports.values()}


@pytest.mark.parametrize(
    "request_head",
    [
        b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
        b"CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n",
        b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n",
        b"CONNECT localhost:%d HTTP/1.1\r\n\r\n",
        b"CONNECT api.twitter.com:%d HTTP/1.1\r\n\r\n",
        b"GET http://127.0.0.1:%d/health HTTP/1.1\r\nHost: api.twitter.com\r\n\r\n",
        b"GET http://api.twitter.com/health HTTP/1.1\r\nHost: api.twitter.com\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: api.twitter.com\r\n\r\n",
    ],
)
def test_nothing_else_is_reached(sandbox, request_head):
    """Not even the plain HTTP port of the sandbox."""
    if b"%d" in request_head:
        request_head %= sandbox.ports["port"]
    with socket.create_connection(
        (HOST, sandbox.ports["intercept-port"]), timeout=PATIENCE_S
    ) as plain:
        plain.sendall(request_head)
        answer = b"".join(iter(lambda: plain.recv(4096), b""))
    assert answer.startswith(f"HTTP/1.1 403 {ONLY_THESE}\r\n".encode())
    assert answer.endswith(f"\r\n\r\n{ONLY_THESE}.\n".encode())


# Start and end.


@pytest.mark.parametrize("option", ["--port", "--https-port", "--intercept-port"])
def test_ports_in_use_are_refused(run, option):
    ports = {name: free_port() for name in ("--port", "--https-port", "--intercept-port")}
    with socket.create_server((HOST, 0)) as used:
        ports[option] = used.getsockname()[1]
        given = [str(part) for pair in ports.items() for part in pair]
        done = run("sandbox", "--intercept", *given)
    assert done.code == 1
    assert f"port {ports[option]}: Address already in use; choose another with {option}" in done.err


def test_equal_ports_are_refused(run):
    port = free_port()
    done = run("sandbox", "--intercept", "--port", port, "--https-port", port)
    assert done.code == 1
    assert "must differ" in done.err


def test_a_key_that_other_users_may_read_is_refused(tmp_path):
    key = tmp_path / "sandbox" / "authority" / "ca.key"
    key.parent.mkdir(parents=True)
    key.touch(0o644)
    key.chmod(0o644)
    one = Sandbox(tmp_path)
    done = subprocess.run(
        one.command, capture_output=True, text=True, check=False, env=server_environment()
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{key}: other users may read this key; run chmod 600" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder on which sandboxes start one after the other, and its certificates."""
    with sandbox_in(tmp_path_factory.mktemp("kept")) as one:
        yield one, {}


def end_by_signal(one):
    with socket.create_connection((HOST, one.ports["intercept-port"])) as joined:
        joined.sendall(b"CONNECT api.x.com:443 HTTP/1.1\r\n\r\n")
        assert joined.recv(100).startswith(b"HTTP/1.1 200 ")
        return one.end()


def end_by_ctrl_c(one):
    os.killpg(one.process.pid, signal.SIGINT)  # a terminal sends it to all processes
    return one.wait()


def end_by_kill(one):
    return one.end(signal.SIGKILL)


def end_by_losing_a_server(one):
    os.kill(max(one.servers()), signal.SIGKILL)
    return one.wait()


ENDS = {
    end_by_signal: 0,
    end_by_ctrl_c: 0,
    end_by_kill: -signal.SIGKILL,
    end_by_losing_a_server: 1,
}


@pytest.mark.heavy
@pytest.mark.parametrize("end", ENDS)
def test_all_processes_end_and_the_authority_is_kept(kept, end):
    """However the sandbox ends."""
    one, authorities = kept
    one.start(until="Ready after")
    printed = one.log.read_text()
    assert f". {shlex.quote(f'{one.folder}/intercept.env')} && python your_client.py" in printed
    assert (
        "\n  callback URL         http://127.0.0.1:8081/callback (/portal changes it)\n" in printed
    )
    for name in VARIABLES:
        assert f"\n  {name} " in printed
    assert len(one.servers()) == 2
    assert len(one.processes()) >= 5

    assert end(one) == ENDS[end]

    assert ("a server of the sandbox ended" in one.log.read_text()) == (
        end is end_by_losing_a_server
    )
    for name in ("ca.pem", "leaf.pem"):
        content = (one.folder / "authority" / name).read_bytes()
        assert authorities.setdefault(name, content) == content
