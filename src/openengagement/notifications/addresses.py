"""Which addresses webhooks may call.

A manager's webhook must not reach what only this machine can reach, such as the services of its own
network. So a name is resolved by us, every address is checked, and the connection goes to the
address that was checked.
"""

import ipaddress
from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import urlsplit

from openengagement.language.current import gettext as _
from openengagement.setting_kinds import Network, is_host

URL_LENGTH_MAX: Final = 2048
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class UnfitWebhook(ValueError):
    """The URL of a webhook cannot be used. The text says why."""


def check_webhook_url(url: str, networks: Collection[Network]) -> None:
    """Check the URL of a webhook. The addresses of a name are checked at each connection.

    Raises:
        UnfitWebhook
    """
    if len(url) > URL_LENGTH_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise UnfitWebhook(
            _("a URL has at most %(most)s ASCII characters and no spaces", most=URL_LENGTH_MAX)
        )
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not is_host(parts.netloc) or "#" in url:
        raise UnfitWebhook(_("write an https URL without a user, a password and #"))
    host = parts.hostname or ""
    literal = _parse_literal(host)
    if parts.scheme == "http" and not _is_loopback(host, literal):
        raise UnfitWebhook(_("write an https URL; http is for addresses of this machine only"))
    if literal is not None and not is_allowed(host, networks):
        raise UnfitWebhook(refusal_of(host))


def is_allowed(address: str, networks: Collection[Network]) -> bool:
    """Return whether a webhook may call an address: a public one, or one of `networks`.

    An IPv6 address that stands for an IPv4 address is checked as both.
    """
    found = ipaddress.ip_address(address)
    if any(found in network for network in networks):
        return True
    return all(each.is_global and not each.is_multicast for each in _meanings_of(found))


def refusal_of(address: str) -> str:
    """Say why an address may not be called, and what allows it."""
    return _(
        "%(address)s is not a public address; OPENENGAGEMENT_WEBHOOK_NETWORKS lists the networks "
        "that webhooks may call besides",
        address=address,
    )


def _meanings_of(address: _Address) -> Iterator[_Address]:
    if not (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped):
        yield address
    if isinstance(address, ipaddress.IPv6Address):
        embedded = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            embedded.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        yield from filter(None, embedded)


def _parse_literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str, literal: _Address | None) -> bool:
    return host == "localhost" if literal is None else literal.is_loopback
