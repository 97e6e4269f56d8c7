"""Listen addresses: whether this machine can listen at one now, and if not, why, with what to do.

py-libp2p binds with SO_REUSEPORT. With it two nodes of one person can have the same port, and the system gives each
connection to either of them: both say that they listen, and the invites of both lead to the wrong one half of the time.
So an address is bound without it first. It knows sockets and no libp2p.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence

REMEDIES = {
    errno.EADDRINUSE: "another node or program has this port; choose another one with --listen, or 0 for any free one",
    errno.EADDRNOTAVAIL: "this machine has no such address; /ip4/0.0.0.0/tcp/0 listens on those it has",
    errno.EACCES: "ports below 1024 need privileges; choose a higher one with --listen",
    errno.EAFNOSUPPORT: "this machine has no IPv6; /ip4/0.0.0.0/tcp/0 listens on the addresses it has",
}
FREE_PORT_TRIES = 8
OTHER_REMEDY = "choose another address with --listen"


class ListenError(Exception):
    """An address that was asked for cannot be listened on; the text says what to do."""


def obstacle(address: str) -> OSError | None:
    """Why this machine cannot listen at /ip4|ip6/HOST/tcp/PORT now; None when it can."""
    _, kind, host, _, port, *_ = address.split("/")
    family = socket.AF_INET6 if kind == "ip6" else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what the last node here left does not count
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # beside "/ip4/0.0.0.0" at the same port
            trial.bind((host, int(port)))
            trial.listen()
    except OSError as error:
        return error
    return None


def without_missing_ipv6(addresses: Sequence[str]) -> list[str]:
    """The addresses, each once, without "all of IPv6" where this machine has none and another address is left.

    The settings name both families, for whoever has both.
    """
    found = list(dict.fromkeys(addresses))
    there = [address for address in found if not address.startswith("/ip6/::/") or not _lacks_ipv6()]
    return there or found


def _lacks_ipv6() -> bool:
    error = obstacle("/ip6/::/tcp/0")
    return error is not None and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def at_one_port(addresses: Sequence[str]) -> list[str]:
    """The addresses, those of any port at one that is free at all of them now; as they are where none is found."""
    if sum(address.endswith("/tcp/0") for address in addresses) < 2:
        return list(addresses)
    for _ in range(FREE_PORT_TRIES):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            trial.bind(("", 0))
            port = trial.getsockname()[1]
        chosen = with_port(addresses, port)
        if all(obstacle(address) is None for address in chosen):
            return chosen
    return list(addresses)


def with_port(addresses: Sequence[str], port: int) -> list[str]:
    """The addresses, those of any port at this one."""
    return [address.removesuffix("0") + str(port) if address.endswith("/tcp/0") else address for address in addresses]


def remedy_of(error: OSError) -> str:
    return REMEDIES.get(error.errno or 0, OTHER_REMEDY)


def refuse_obstacles(addresses: list[str]) -> None:
    """Raise ListenError unless this machine can listen at every one of them."""
    for address in addresses:
        error = obstacle(address)
        if error is not None:
            raise ListenError(f"cannot listen on {address} ({os.strerror(error.errno or 0)}): {remedy_of(error)}")
