"""Who is calling, when a load balancer stands in front: its word is taken only if we were told to trust it.

`X-Forwarded-For` is a list that each proxy appends to what it was sent, so only its end can be believed:
read from the right, the first address that is no trusted proxy is the caller's. `X-Forwarded-Proto` says how
the caller came to the proxy.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web
from aiohttp.typedefs import Handler

from fitai.http.headers import SECURE

Network = IPv4Network | IPv6Network


def install(app: web.Application, trusted: Sequence[Network]) -> None:
    """Give handlers the caller's address as `request.remote`, and whether he came by TLS as `SECURE`; with no
    trusted proxy nothing is added."""
    if not trusted:
        return

    @web.middleware
    async def forwarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if _trusted(request.remote or "", trusted):
            request[SECURE] = _said_last(request, "X-Forwarded-Proto") == "https"
        told = request.headers.getall("X-Forwarded-For", [])
        remote = caller(request.remote or "", told, trusted)
        return await handler(request if remote == request.remote else request.clone(remote=remote))

    app.middlewares.append(forwarded)


def caller(peer: str, told: Sequence[str], trusted: Sequence[Network]) -> str:
    """The address behind `peer`, by the values of X-Forwarded-For (each a list, separated by commas).

    What is no address is nobody's: the last one that is stands.
    """
    address = peer
    hops = [hop.strip() for value in told for hop in value.split(",")]
    while hops and _trusted(address, trusted) and _parsed(hops[-1]) is not None:
        address = hops.pop()
    return address


def _said_last(request: web.Request, header: str) -> str:
    """The last value of a header, which is what the nearest proxy added."""
    return ",".join(request.headers.getall(header, [])).rpartition(",")[2].strip().lower()


def _trusted(text: str, networks: Sequence[Network]) -> bool:
    address = _parsed(text)
    return address is not None and any(address in network for network in networks)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """The address; one of IPv4 that is written as IPv6, as sockets for both do, as IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
