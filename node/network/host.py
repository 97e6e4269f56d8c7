"""The host: one libp2p host with its patches, on TCP with Noise and Yamux, under the node's own key.

It knows connections, addresses and streams, and how to end them all quickly. It knows nothing of what they carry.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import psutil
import trio
from libp2p import new_host
from libp2p.abc import INotifee
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key
from libp2p.custom_types import TProtocol
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr import Multiaddr

from node.network.frames import BROKEN_STREAM, StreamEndedError
from node.network.groups import Scope, scope_of
from node.network.libp2p_patches import connections as patches
from node.network.parameters import (
    DIAL_SECONDS,
    GOODBYE_SECONDS,
    HANDSHAKE_SECONDS,
    LIBRARY_STOP_SECONDS,
    MAX_CONNECTIONS,
    NEGOTIATE_SECONDS,
    OPEN_SILENT_SECONDS,
    PEERS_REMEMBERED,
    TWIN_SECONDS,
)
from node.network.peer_score import PeerScore
from node.platform.listening import ListenError, refuse_obstacles
from protocol.codec import MalformedError
from protocol.identity import Identity


@dataclass(frozen=True)
class Address:
    """A multiaddr that ends in a peer id, taken apart."""

    peer: str
    transport: str

    def __str__(self) -> str:
        return f"{self.transport}/p2p/{self.peer}"


def parse_address(text: str) -> Address:
    """Raises MalformedError with a text for people."""
    try:
        info = info_from_p2p_addr(Multiaddr(text))
        transport = str(info.addrs[0])
    except Exception:  # the multiaddr library raises whatever its codecs raise
        raise MalformedError(f"{text[:120]!r} is not an address like /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…") from None
    if "/tcp/" not in transport:
        raise MalformedError(f"{text[:120]!r} is not reached over TCP, which is all this version speaks")
    return Address(str(info.peer_id), transport)


class Reach(StrEnum):
    """Who has been able to dial this node, and so what others can count on. In words, as `status` shows it."""

    INTERNET = "reachable from the internet"
    LOCAL_NETWORK = "reachable on the local network; nobody from outside has dialled in"
    OUTGOING_ONLY = "outgoing only: no other machine has dialled in; all travels through peers that can be dialled"
    ALONE = "alone"


class _ConnectionEvents(INotifee):  # type: ignore[misc]  # the library has no types
    """Calls back when connections begin and end: the library's may be several to one peer, these are per peer."""

    def __init__(
        self,
        on_connected: Callable[[str, bool], None],
        on_dialled: Callable[[str], None],
        on_disconnected: Callable[[str], None],
        on_inbound: Callable[[str], None],
    ) -> None:
        self._on_connected = on_connected
        self._on_dialled = on_dialled
        self._on_disconnected = on_disconnected
        self._on_inbound = on_inbound

    async def connected(self, network: Any, conn: Any) -> None:
        peer, dialled = str(conn.muxed_conn.peer_id), bool(conn.muxed_conn.is_initiator_value)
        if not dialled:
            self._on_inbound(str(next(iter(conn.get_transport_addresses()), "")))
        if len(network.get_connections(conn.muxed_conn.peer_id)) == 1:
            self._on_connected(peer, dialled)
        elif dialled:
            self._on_dialled(peer)

    async def disconnected(self, network: Any, conn: Any) -> None:
        if not network.get_connections(conn.muxed_conn.peer_id):
            self._on_disconnected(str(conn.muxed_conn.peer_id))

    async def opened_stream(self, network: Any, stream: Any) -> None: ...

    async def closed_stream(self, network: Any, stream: Any) -> None: ...

    async def listen(self, network: Any, multiaddr: Any) -> None: ...

    async def listen_close(self, network: Any, multiaddr: Any) -> None: ...


class Host:
    """A patched libp2p host. `libp2p` is the library's own object, for gossip to attach to."""

    def __init__(self, identity: Identity, peer_score: PeerScore, swarm_key: bytes | None = None) -> None:
        """swarm_key: 32 bytes that all members of a private swarm have; others get no further than its cipher."""
        patches.silence_library_log()
        patches.limit_yamux_windows()
        pair = create_new_key_pair(identity.seed)
        self.peer_id = identity.peer_id
        self.libp2p: Any = new_host(
            key_pair=pair,
            sec_opt={NOISE: Noise(pair, noise_privkey=create_noise_key().private_key)},
            muxer_opt={TProtocol(YAMUX): Yamux},
            connection_config=ConnectionConfig(
                max_connections=MAX_CONNECTIONS,
                min_connections=0,
                low_watermark=0,
                high_watermark=MAX_CONNECTIONS,
                inbound_upgrade_timeout=HANDSHAKE_SECONDS,
                outbound_upgrade_timeout=HANDSHAKE_SECONDS,
                inbound_stream_protocol_negotiation_timeout=NEGOTIATE_SECONDS,
                outbound_stream_protocol_negotiation_timeout=NEGOTIATE_SECONDS,
            ),
            disable_identify_address_discovery=True,
            psk=swarm_key.hex() if swarm_key is not None else None,
        )
        self._listening: list[str] = []
        self._dials: dict[str, trio.Event] = {}  # peers being dialled, and when that is over
        self._dialled_by: set[Reach] = set()  # INTERNET, LOCAL_NETWORK
        self._external_address: str | None = None  # where a router lets peers in
        self._network: Any = self.libp2p.get_network()
        self._network.retry_config = RetryConfig(max_retries=0)  # discovery has its own backoff
        # The library's resource manager has a circuit breaker: five refusals, whichever peer caused them, and for a
        # minute no connection is accepted. What it would bound is bounded by the configuration above and the patches.
        self._network.set_resource_manager(None)
        self._writes = patches.patch_new_connections(self.libp2p)
        patches.disable_automatic_dialling(self.libp2p)
        patches.contain_stream_failures(self.libp2p, peer_score)
        patches.contain_identify_failures(self.libp2p)
        patches.release_inbound_slots(self.libp2p)

    @asynccontextmanager
    async def run(self, listen: Sequence[str]) -> AsyncIterator[None]:
        """Listen and accept until the block ends. Raises ListenError unless all of `listen` can be had.

        Leaving the block, or cancelling it, takes little more than a second at most, whatever peers do.
        """
        listen = list(dict.fromkeys(listen))
        refuse_obstacles(listen)
        listening = False
        async with trio.open_nursery() as nursery:
            ready, leaving = trio.Event(), trio.Event()
            nursery.start_soon(self._serve, listen, ready, leaving)
            try:  # by Nursery.start, one that is cancelled meanwhile would wait for ever: the task is shielded
                await ready.wait()
                listening = len(self.addresses()) >= len(listen)
                if listening:
                    yield
            finally:
                leaving.set()
        if not listening:  # raised out here, where no nursery wraps it in a group
            raise ListenError(f"cannot listen on all of {', '.join(listen)}: try --listen /ip4/0.0.0.0/tcp/0")

    async def _serve(self, listen: Sequence[str], ready: trio.Event, leaving: trio.Event) -> None:
        """Run the library's host until `leaving`. ready: set when it listens on what can be had.

        Shielded: cancelled in the middle of it, the library leaves its sockets open, and peers go on waiting for a node
        that is gone.
        """
        with trio.CancelScope(shield=True) as scope:
            async with self.libp2p.run(listen_addrs=[Multiaddr(address) for address in listen]):
                patches.contain_task_failures(self._network)
                ready.set()
                await leaving.wait()
                await self._leave()
                scope.deadline = trio.current_time() + LIBRARY_STOP_SECONDS

    async def _leave(self) -> None:
        """Free the ports and close all connections at once; the library would take 0.1 s per peer in turn."""
        accepting = [accepts for listener in self._network.listeners.values() for accepts in listener.listeners]
        with trio.move_on_after(GOODBYE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._abandon_writes)
                async with trio.open_nursery() as goodbyes:
                    for listener in self._network.listeners.values():
                        goodbyes.start_soon(_quietly, listener.close)
                    for connection in self._network.get_connections():
                        goodbyes.start_soon(_quietly, connection.close)
                nursery.cancel_scope.cancel()
        # Fault: a `close` of the library that is cancelled leaves its sockets open, and does nothing when called again.
        # With SO_REUSEPORT the next listener at that port would share its connections with one that nobody serves.
        for accepts in accepting:
            accepts.socket.close()

    async def _abandon_writes(self) -> None:
        """End the writes under way after half the time: those to a peer that does not read would not end by then."""
        try:
            await trio.sleep(GOODBYE_SECONDS / 2)
        finally:
            self._writes.abandon()

    def watch(
        self,
        on_connected: Callable[[str, bool], None],
        on_dialled: Callable[[str], None],
        on_disconnected: Callable[[str], None],
    ) -> None:
        """Call back at the first connection to a peer, with its id and whether this node dialled it; at another one
        that this node dialled; and after the last.

        None may raise.
        """
        self._network.register_notifee(_ConnectionEvents(on_connected, on_dialled, on_disconnected, self._note_inbound))

    def addresses(self) -> list[str]:
        """Where this node listens, with its peer id."""
        if not self._listening:  # asked of every socket, which takes its time
            self._listening = [f"{address}/p2p/{self.peer_id}" for address in self.libp2p.get_transport_addrs()]
        return list(self._listening)

    def advertised(self) -> list[str]:
        """Where others might reach this node, the external address first."""
        external = [f"{self._external_address}/p2p/{self.peer_id}"] if self._external_address is not None else []
        return list(dict.fromkeys([*external, *self.local_addresses()]))

    def local_addresses(self) -> list[str]:
        """Where this node can be reached without a router's help.

        Listening on 0.0.0.0 stands for all addresses of this machine: on one with 192.168.1.10, /ip4/0.0.0.0/tcp/4001
        becomes /ip4/192.168.1.10/tcp/4001 and then /ip4/127.0.0.1/tcp/4001; likewise :: for those of IPv6.
        """
        found: list[str] = []
        for address in self.addresses():
            if "/ip4/0.0.0.0/" in address:
                found += [address.replace("0.0.0.0", ip) for ip in _machine_addresses(socket.AF_INET)]
            elif "/ip6/::/" in address:
                found += [address.replace("/ip6/::/", f"/ip6/{ip}/") for ip in _machine_addresses(socket.AF_INET6)]
            else:
                found.append(address)
        found.sort(key=lambda address: scope_of(address) is Scope.MACHINE)  # of use to the fewest
        return list(dict.fromkeys(found))

    def set_external_address(self, address: str | None) -> None:
        """Peers may dial from outside at this transport address, or no longer anywhere."""
        self._external_address = address

    def private_port(self) -> int | None:
        """The port at which this machine listens in a private network, to which a router might map one; or None."""
        for address in self.local_addresses():
            _, family, ip, transport, port, *_ = address.split("/")
            if family != "ip4" or transport != "tcp":
                continue
            local = ipaddress.ip_address(ip)
            if local.is_private and not local.is_loopback:
                return int(port)
        return None

    def _note_inbound(self, address: str) -> None:
        """A peer has dialled this node, which is the one sure sign that it can be dialled."""
        with suppress(ValueError, IndexError):
            is_global = ipaddress.ip_address(address.split("/")[2]).is_global
            self._dialled_by.add(Reach.INTERNET if is_global else Reach.LOCAL_NETWORK)

    def reach(self) -> Reach:
        """Who has been able to dial this node."""
        for reach in (Reach.INTERNET, Reach.LOCAL_NETWORK):
            if reach in self._dialled_by:
                return reach
        return Reach.OUTGOING_ONLY if self.peers() else Reach.ALONE

    def peers(self) -> list[str]:
        """The ids of the peers that are connected."""
        return [str(peer) for peer, connections in self._network.connections.items() if connections]

    def connected(self, peer: str) -> bool:
        return bool(self._network.get_connections(_id_of(peer)))

    def address_of(self, peer: str) -> str:
        """The address at the other end of the connection; "" when there is none (any more)."""
        for connection in self._network.get_connections(_id_of(peer)):
            for address in connection.get_transport_addresses():
                return _text_of(address)
        return ""

    def latency(self, peer: str) -> float | None:
        """Seconds there and back, as Yamux measures it all the time; None where it has not yet."""
        measured = [connection.muxed_conn.rtt() for connection in self._network.get_connections(_id_of(peer))]
        return min((seconds for seconds in measured if seconds > 0), default=None)

    def twins(self) -> dict[str, list[str]]:
        """Peer ids under which several nodes have dialled this one and are there now, with their addresses.

        A node dials another once. If it has given a connection up and this side does not know yet, that one is silent.
        """
        found = {}
        for peer, connections in self._network.connections.items():
            inbound = [one for one in connections if not one.muxed_conn.is_initiator_value]
            since = max((one.muxed_conn.begun_at for one in inbound), default=0.0) + TWIN_SECONDS
            speaking = [one for one in inbound if one.muxed_conn.last_read_at > since]
            if len(speaking) > 1:
                found[str(peer)] = [str(address) for one in speaking for address in one.get_transport_addresses()]
        return found

    def claimed_addresses(self, peer: str) -> list[str]:
        """Where a peer says it listens. It is not checked."""
        try:
            return [str(address) for address in self.libp2p.get_peerstore().addrs(_id_of(peer))]
        except Exception:  # the peerstore raises for peers it has heard nothing of
            return []

    async def dial(self, address: Address) -> bool:
        """Whether there is now a connection to the peer at this address. The peer has proved its id."""
        return await self.try_dial(address) is None

    async def try_dial(self, address: Address) -> Exception | None:
        """The same; returns why there is no connection, as the library or the clock has it."""
        failure: Exception = trio.TooSlowError()
        await self.dial_under_way(address.peer)
        if self.connected(address.peer):
            return None
        self._dials[address.peer] = over = trio.Event()
        try:
            with trio.move_on_after(DIAL_SECONDS):
                await self._network.dial_addr(Multiaddr(address.transport), _id_of(address.peer))
        except Exception as error:  # the library raises what its transports raise; none of it is ours to repair
            failure = error
        finally:
            over.set()
            del self._dials[address.peer]
        return None if self.connected(address.peer) else failure

    async def dial_under_way(self, peer: str) -> None:
        """Return when no other part of the node is dialling this peer: two connections to it would be no use."""
        while peer in self._dials:
            await self._dials[peer].wait()

    async def disconnect(self, peer: str) -> None:
        await _quietly(lambda: self.libp2p.disconnect(_id_of(peer)))

    def answer(self, protocol: str, handler: Callable[[Any], Any]) -> None:
        """Let `handler` serve the streams that peers open with `protocol`."""
        self.libp2p.set_stream_handler(TProtocol(protocol), handler)

    async def open_stream(self, peer: str, protocol: str) -> Any:
        """A stream to a connected peer. Raises StreamEndedError when there is none to be had.

        A connection that brings nothing at all meanwhile is ended: the peer's machine may sleep, and TCP would not
        notice for long. A peer that only takes long to answer keeps it: making another would cost both of them more.
        """
        if not self.connected(peer):
            raise StreamEndedError("not connected")
        begun = trio.current_time()
        connections = self._network.get_connections(_id_of(peer))
        why = "the peer does not answer"
        try:
            with (
                trio.move_on_after(NEGOTIATE_SECONDS),
                patches.cancel_when_silent([connection.muxed_conn for connection in connections], OPEN_SILENT_SECONDS),
            ):
                return await self.libp2p.new_stream(_id_of(peer), [TProtocol(protocol)])
        except BROKEN_STREAM as error:
            why = f"no stream ({type(error).__name__})"
        for connection in connections:
            if trio.current_time() >= max(begun, connection.muxed_conn.last_read_at) + OPEN_SILENT_SECONDS:
                await _quietly(connection.close)
        raise StreamEndedError(why)


@lru_cache(PEERS_REMEMBERED)
def _id_of(peer: str) -> ID:
    """The library's form of a peer id, which is asked for with every record that a peer brings."""
    return ID.from_string(peer)


@lru_cache(PEERS_REMEMBERED)
def _text_of(address: Multiaddr) -> str:
    return str(address)


def _machine_addresses(family: socket.AddressFamily) -> list[str]:
    """The addresses of this machine, loopback last. Link-local ones, which mean nothing without an interface, are not.

    Of IPv6 those of the internet come first: a machine often has private ones (RFC 4193) beside.
    """
    found: set[str] = set()
    for interface in psutil.net_if_addrs().values():
        found.update(address.address for address in interface if address.family == family)
    ips = [ipaddress.ip_address(text) for text in found if "%" not in text]
    usable = [ip for ip in ips if ip.version == 4 or not ip.is_link_local]
    usable.sort(key=lambda ip: (ip.is_loopback, ip.version == 6 and ip.is_private, str(ip)))
    return [str(ip) for ip in usable]


async def _quietly(act: Callable[[], Any]) -> None:
    try:
        await act()
    except Exception:
        return  # it was being ended anyway
