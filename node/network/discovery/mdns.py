"""mDNS: nodes of one swarm on one local network find each other by multicast DNS (RFC 6762), without an address.

It knows the zeroconf library, which answers and listens on threads of its own, and hands what it finds to trio. What it
finds is a claim like any other: a peer that is dialled must still prove its peer id.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial

import trio
from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from node.network.parameters import (
    MDNS_ANSWER_MILLISECONDS,
    MDNS_NAMES_WAITING,
    MDNS_STOP_SECONDS,
)
from node.platform.concurrency import in_thread
from protocol.codec import MalformedError
from protocol.identity import author_of

SERVICE = "_autoresearch._tcp.local."
SWARM = b"swarm"  # the property that holds the start of the objective's id
SWARM_HEX = 32

Found = Callable[[str], None]


class MdnsDiscovery:
    """Announces this peer on the local network, and finds others of the same swarm.

    addresses: where this node listens (multiaddrs); only IPv4 addresses of this machine, not loopback, are announced.
    found: called with a multiaddr that ends in a peer id.
    """

    def __init__(self, peer_id: str, objective: bytes, addresses: Sequence[str], found: Found) -> None:
        self._peer_id = peer_id
        self._swarm = objective.hex()[:SWARM_HEX].encode()
        places = map(_place, addresses)
        self._places = [place for place in places if place is not None]
        self._found = found

    async def run(self) -> None:
        """Announce this peer and look for others, for ever. Raises OSError where there is no network."""
        if not self._places:
            await trio.sleep_forever()
        names, heard = trio.open_memory_channel[str](MDNS_NAMES_WAITING)
        token = trio.lowlevel.current_trio_token()
        interfaces = sorted({host for host, _ in self._places})
        zeroconf = await in_thread(lambda: Zeroconf(interfaces=interfaces, ip_version=IPVersion.V4Only))
        try:
            await in_thread(lambda: zeroconf.register_service(self._info()))
            browser = ServiceBrowser(zeroconf, SERVICE, handlers=[partial(_hand_over, token, names)])
            try:
                async for name in heard:
                    await self._look_at(zeroconf, name)
            finally:
                browser.cancel()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + MDNS_STOP_SECONDS):
                await in_thread(zeroconf.close)

    def _info(self) -> ServiceInfo:
        hosts = [socket.inet_aton(host) for host, _ in self._places]
        return ServiceInfo(
            SERVICE,
            f"{self._peer_id}.{SERVICE}",
            port=self._places[0][1],
            addresses=hosts,
            properties={SWARM: self._swarm},
            server=f"{self._peer_id[-16:]}.local.",
        )

    async def _look_at(self, zeroconf: Zeroconf, name: str) -> None:
        peer = name.removesuffix(f".{SERVICE}")
        if peer == self._peer_id:
            return
        try:
            author_of(peer)  # a name on the local network can be anything
        except MalformedError:
            return
        info = await in_thread(lambda: zeroconf.get_service_info(SERVICE, name, MDNS_ANSWER_MILLISECONDS))
        if info is None or info.port is None or info.properties.get(SWARM) != self._swarm:
            return
        for host in info.parsed_addresses(IPVersion.V4Only):
            self._found(f"/ip4/{host}/tcp/{info.port}/p2p/{peer}")


def _place(address: str) -> tuple[str, int] | None:
    """Host and port of an IPv4 multiaddr that others on the local network could dial."""
    parts = address.split("/")
    if parts[1:2] != ["ip4"] or parts[3:4] != ["tcp"] or parts[2].startswith(("127.", "0.")):
        return None
    return parts[2], int(parts[4])


def _hand_over(
    token: trio.lowlevel.TrioToken,
    names: trio.MemorySendChannel[str],
    zeroconf: Zeroconf,  # the library calls with these names
    service_type: str,
    name: str,
    state_change: ServiceStateChange,
) -> None:
    """Called on a thread of the library."""
    if state_change is ServiceStateChange.Removed:
        return

    def send() -> None:
        try:
            names.send_nowait(name)
        except (trio.WouldBlock, trio.BrokenResourceError):
            return  # too many at once; they are announced again

    try:
        token.run_sync_soon(send)
    except trio.RunFinishedError:
        return
