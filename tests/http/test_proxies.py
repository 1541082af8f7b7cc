from __future__ import annotations

from ipaddress import ip_network

import pytest

from fitai.gateways.live.limits import LiveLimits
from fitai.http.proxies import caller

OURS = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "told", "address"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),  # nobody of ours: says what it likes
        ("10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.5"], "203.0.113.5"),  # the first was the caller's own word
        ("10.0.0.1", ["198.51.100.1", "203.0.113.5, 10.0.0.2"], "203.0.113.5"),  # two of ours
        ("::ffff:10.0.0.1", ["2001:db8::5"], "2001:db8::5"),
        ("fd00::1", ["10.9.9.9"], "10.9.9.9"),  # a caller inside
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5, "], "10.0.0.1"),
        ("", ["203.0.113.5"], ""),  # a Unix socket
    ],
)
def test_the_caller_is_the_last_that_is_not_one_of_ours(peer: str, told: list[str], address: str):
    assert caller(peer, told, OURS) == address


@pytest.mark.parametrize(("trusted", "second"), [((), 429), ((ip_network("127.0.0.0/8"),), 200)])
async def test_callers_behind_a_trusted_balancer_are_told_apart(make_api, trusted, second):
    api = await make_api(live=True, limits=LiveLimits(connects_per_min=1), trusted_proxies=trusted)
    socket = "/socket.io/?EIO=4&transport=polling"
    assert (await api.call("GET", socket, X_Forwarded_For="203.0.113.5")).status == 200
    assert (await api.call("GET", socket, X_Forwarded_For="203.0.113.6")).status == second
    assert (await api.call("GET", socket, X_Forwarded_For="203.0.113.5")).status == 429
