"""Network groups: which addresses an attacker gets together, so that they are counted together.

An address costs little beside others of its network: a provider hands out IPv4 addresses of one /16 and whole IPv6
prefixes. Bitcoin counts by the same. On a local network and on one machine all addresses are alike, and say nothing.
"""

from __future__ import annotations

import ipaddress

IPV4_PREFIX, IPV6_PREFIX = 16, 32
LOCAL = ""  # the group of addresses that say nothing: loopback, private, link-local, and what is no IP address


def group_of(address: str) -> str:
    """The group of a multiaddr: of /ip4/203.0.113.7/tcp/4001 it is 203.0.0.0/16, of a private one LOCAL."""
    ip = ip_of(address)
    if ip is None or not is_public(ip):
        return LOCAL
    prefix = IPV4_PREFIX if ip.version == 4 else IPV6_PREFIX
    return str(ipaddress.ip_network((ip, prefix), strict=False))


def ip_of(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address in a multiaddr, where there is one; of an IPv4 address written as IPv6, the former."""
    parts = address.split("/")
    if len(parts) < 3 or parts[1] not in ("ip4", "ip6"):
        return None
    try:
        ip = ipaddress.ip_address(parts[2])
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


def is_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it is an address of the internet, at which only one machine can be."""
    return ip.is_global and not ip.is_multicast
