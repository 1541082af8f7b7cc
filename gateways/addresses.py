"""How an address is counted: what one customer of a network has is one."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_address


def counted_as(address: str) -> str:
    """The address itself, or of an IPv6 address its /64, since every customer is given that much at least.
    An IPv4 address that is written as IPv6 is the IPv4 address; what is no address stays as it is."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped is not None else str(IPv6Network((int(parsed), 64), strict=False))
