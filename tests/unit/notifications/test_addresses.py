"""Which URLs and addresses webhooks may call."""

import pytest

from openengagement.notifications.addresses import UnfitWebhook, check_webhook_url, is_allowed
from openengagement.setting_kinds import parse_networks
from support.cases import cases

LOOPBACK = parse_networks("127.0.0.0/8,::1")


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07::1", "::ffff:8.8.8.8"])
def test_public_addresses(address):
    assert is_allowed(address, ())


@cases(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",  # of a provider's own network
        "127.0.0.1",
        "169.254.169.254",  # secrets of machines in a cloud
        "172.16.0.1",
        "192.168.1.1",
        "192.0.2.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fc00::1",
        "fe80::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
    ],
)
def test_other_addresses_are_refused(address):
    assert not is_allowed(address, ())


def test_a_setting_allows_networks():
    networks = parse_networks("10.1.0.0/16, fd00::/8")
    assert is_allowed("10.1.2.3", networks)
    assert is_allowed("fd12::1", networks)
    assert not is_allowed("10.2.0.1", networks)


@pytest.mark.parametrize(
    "url", ["https://hooks.example.com/a?b=c", "https://hooks.example.com:8443", "https://8.8.8.8/"]
)
def test_fit_urls(url):
    check_webhook_url(url, ())


@cases(
    "url",
    [
        "",
        "hooks.example.com",
        "ftp://hooks.example.com",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://user:password@hooks.example.com/",
        "https://user@hooks.example.com/",
        "https://hooks.example.com/#part",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\n",
        "https://höoks.example.com/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com/" + "x" * 2048,
        "http://hooks.example.com/",
        "http://8.8.8.8/",
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://10.0.0.1/",
    ],
)
def test_unfit_urls(url):
    with pytest.raises(UnfitWebhook):
        check_webhook_url(url, ())


def test_http_is_for_this_machine_only():
    for url in ("http://127.0.0.1:8080/", "http://[::1]/", "https://127.0.0.1/"):
        check_webhook_url(url, LOOPBACK)
    check_webhook_url("http://localhost/", LOOPBACK)
    for url in ("http://10.0.0.1/", "http://localhost.example.com/"):
        with pytest.raises(UnfitWebhook):
            check_webhook_url(url, (*LOOPBACK, *parse_networks("10.0.0.0/8")))
