"""Network groups: which addresses an attacker gets together, so that they are counted together.

An address costs little beside others of its network: a provider hands out IPv4 addresses of one /16 and whole IPv6
prefixes. Bitcoin counts by the same. On a local network and on one machine all addresses are alike, and say nothing.
"""

from __future__ import annotations

import ipaddress
from enum import IntEnum
from functools import lru_cache

from node.network.parameters import PEERS_REMEMBERED

IPV4_PREFIX, IPV6_PREFIX = 16, 32
IPV6_HOUSE_PREFIX = 64
LOCAL = ""  # the group of addresses that say nothing: loopback, private, link-local, and what is no IP address


@lru_cache(PEERS_REMEMBERED)  # it is asked for with every record that a peer brings
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


class Scope(IntEnum):
    """From how far away an address can be reached; a greater one is nearer."""

    INTERNET = 0
    LOCAL_NETWORK = 1  # private (RFC 1918, RFC 6598, RFC 4193) and link-local (RFC 3927, RFC 4291)
    MACHINE = 2  # loopback


def scope_of(address: str) -> Scope | None:
    """The scope of a multiaddr; None where nobody can be dialled: no IP address, unspecified, multicast, reserved."""
    ip = ip_of(address)
    if ip is None or ip.is_unspecified or ip.is_multicast or (ip.is_reserved and ip.version == 4):
        return None
    if ip.is_loopback:
        return Scope.MACHINE
    return Scope.INTERNET if is_public(ip) else Scope.LOCAL_NETWORK


def host_of(address: str) -> str:
    """What one machine has of a multiaddr: an IPv4 address, or the IPv6 network of 64 bits that a house is given.

    "" where there is no IP address.
    """
    ip = ip_of(address)
    if ip is None:
        return ""
    if ip.version == 4 or ip.is_loopback:
        return str(ip)
    return str(ipaddress.ip_network((ip, IPV6_HOUSE_PREFIX), strict=False))


def crowd_of(address: str) -> str:
    """Whom to count together when one has to go: the group, and on a local network the machine; "" if unknown."""
    return group_of(address) or host_of(address)


def may_name(link: str, claimed: str) -> bool:
    """Whether an address that came over this link may be dialled on the word of who named it for itself.

    Over a link of the internet, one of the internet only: else a stranger could have this node knock at machines of its
    own network. Over a link of the local network, addresses of such networks too; over one within this machine, all.
    """
    scope = scope_of(claimed)
    return scope is not None and scope <= (scope_of(link) or Scope.INTERNET)
