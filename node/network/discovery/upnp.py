"""UPnP: a port mapping at the local network's router (its "Internet Gateway Device"), so that peers can dial this node.

It knows the miniupnpc library, whose calls wait for the network and so run in threads. That a port was opened proves
nothing; whether a peer can dial this node is `Host.reach`'s to say.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from contextlib import suppress

import miniupnpc
import trio

from node.network.parameters import (
    UPNP_DISCOVER_MILLISECONDS,
    UPNP_LEASE_SECONDS,
    UPNP_OTHER_PORTS,
    UPNP_RENEW_SECONDS,
    UPNP_STOP_SECONDS,
)
from node.platform.concurrency import in_thread

DESCRIPTION = "autoresearch-node"

Opened = Callable[[str | None], None]


class PortMapping:
    """Keeps a port of the gateway open for `port` of this machine.

    opened: called with the place where peers may dial from outside, as "/ip4/ADDRESS/tcp/PORT", or None when there is
    none, every time that it has changed.
    """

    def __init__(self, port: int, opened: Opened) -> None:
        self._port = port
        self._opened = opened
        self._outside: int | None = None
        self._opener: miniupnpc.UPnP | None = None  # the router that opened it, asked again to close it

    async def run(self) -> None:
        """Open the port and keep it open, for ever; close it at the end."""
        before: str | None = None
        try:
            while True:
                place = await in_thread(self._open)
                if place != before:
                    self._opened(place)
                before = place
                await trio.sleep(UPNP_RENEW_SECONDS * random.uniform(0.8, 1.0))
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + UPNP_STOP_SECONDS):
                await in_thread(self._close)

    def _open(self) -> str | None:
        gateway = _gateway()
        if gateway is None:
            return None
        address = _outside_of(gateway)
        if address is None:
            return None
        for outside in (self._outside or self._port, *random.sample(range(20_000, 60_000), UPNP_OTHER_PORTS)):
            if _add(gateway, outside, self._port):
                self._outside = outside
                self._opener = gateway
                return f"/ip4/{address}/tcp/{outside}"
        return None

    def _close(self) -> None:
        if self._opener is not None:
            with suppress(Exception):  # the library has no error of its own
                self._opener.deleteportmapping(self._outside, "TCP")


def _gateway() -> miniupnpc.UPnP | None:
    """The gateway of this network; None when there is none that speaks UPnP."""
    found = miniupnpc.UPnP()
    found.discoverdelay = UPNP_DISCOVER_MILLISECONDS
    with suppress(Exception):  # the library's only error, with a text of its C part, which may be "Success"
        found.discover()
    try:
        found.selectigd()
    except Exception:
        return None
    return found


def _outside_of(gateway: miniupnpc.UPnP) -> str | None:
    """The gateway's address in the internet; None when it has none, because it is behind another router."""
    try:
        address = str(gateway.externalipaddress())
        return address if ipaddress.ip_address(address).is_global else None
    except Exception:  # the library's, or what it brought is no address
        return None


def _add(gateway: miniupnpc.UPnP, outside: int, port: int) -> bool:
    """Whether the gateway has opened this port for us; some do so for good only, not for a time."""
    for seconds in (UPNP_LEASE_SECONDS, 0):
        with suppress(Exception):
            return bool(gateway.addportmapping(outside, "TCP", gateway.lanaddr, port, DESCRIPTION, "", seconds))
    return False
