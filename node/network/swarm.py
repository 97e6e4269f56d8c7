"""The network of a running node: host, gossip, anti-entropy and discovery, wired, in one nursery.

It knows how the parts meet: a new connection leads to a sync, a gap to another, a lost connection to dialling again;
now and then a connection is given up for another one, so that the graph of the swarm stays random. With the rest of the
node it shares the store, and the few methods of Network.
"""

from __future__ import annotations

import math
import os
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache

import trio
from msgspec.structs import replace

from node.ledger.files import BlobFiles
from node.ledger.pool import Bringer
from node.network.anti_entropy import AntiEntropy
from node.network.content.download import Progress
from node.network.content.serve import Blobs
from node.network.discovery.address_book import Standing
from node.network.discovery.addresses import PeerDiscovery
from node.network.discovery.kad.visits import Visits
from node.network.discovery.named_peers import NamedPeers
from node.network.discovery.rendezvous import meet_strangers
from node.network.discovery.upnp import PortMapping
from node.network.gossip import Gossip
from node.network.groups import Scope, crowd_of, group_of, may_name, scope_of
from node.network.host import Host, Reach
from node.network.intake import Intake
from node.network.parameters import (
    ANCHORS_SECONDS,
    FOREIGN_REST_SECONDS,
    FOREIGN_SECONDS,
    GAP_SYNC_SECONDS,
    IDENTIFY_SECONDS,
    NETWORK_CHECK_SECONDS,
    OUTGOING_LEAST,
    PEERS_REMEMBERED,
    REPLACE_SECONDS,
    SLEPT_SECONDS,
    SYNC_NOT_OPENED_SECONDS,
    TASK_RESTART_SECONDS,
)
from node.network.peer_check import reach
from node.network.peer_score import PeerScore
from node.network.presences import Forwarder
from node.network.sessions import Sessions
from node.network.slots import Slots
from node.network.store import RecordStore
from node.platform.log import Log
from protocol.codec import MalformedError
from protocol.identity import Identity, author_of, short_peer
from protocol.messages import MAX_PRESENCE_ADDRESSES, Presence

_author_of = lru_cache(PEERS_REMEMBERED)(author_of)  # it is asked for with every record that a peer brings


@dataclass(frozen=True)
class Settings:
    """How this node is on the network.

    swarm_key: of a private swarm. allow: the only peer ids that may connect, when there are any; block: those that
    never may. lan: whether to be found, and find others, on the local network (mDNS). upnp: whether to ask the router
    for a port mapping. public: whether to find strangers, and be found, in a DHT; never in a private swarm.
    dht_bootstrap: servers of the public DHT of IPFS, for looking there too.
    """

    listen: Sequence[str]
    bootstrap: Sequence[str] = ()
    swarm_key: bytes | None = None
    allow: frozenset[str] = frozenset()
    block: frozenset[str] = frozenset()
    lan: bool = False
    upnp: bool = False
    public: bool = False
    dht_bootstrap: Sequence[str] = ()


@dataclass(frozen=True)
class Peer:
    """A connected peer: the address at its end of the connection, and what it lately said of itself."""

    peer_id: str
    address: str
    presence: Presence | None


class Network:
    """A running network. Made by `open_network`."""

    def __init__(
        self, identity: Identity, store: RecordStore, settings: Settings, log: Log, files: BlobFiles | None = None
    ) -> None:
        self._store = store
        self._settings = settings
        self._log = log
        self._slots = Slots(os.urandom(32), random.Random())
        allow = settings.allow | {identity.peer_id} if settings.allow else settings.allow  # own records may come back
        self._peer_score = PeerScore(log, self._disconnect, allow, settings.block, self._slots.colocated)
        self._host = Host(identity, self._peer_score, settings.swarm_key)
        sessions = Sessions(self._host, self._peer_score, log)
        self._chosen: set[str] = set()  # peers that a person named, or that are on this local network
        intake = Intake(store, self._peer_score, log, self._bringer, self._note_new)
        self._anti_entropy = AntiEntropy(self._host, sessions, store, intake, self._peer_score, log)
        self._blobs = Blobs(self._host, sessions, store, files, self._peer_score, log)
        self._gossip = Gossip(
            self._host,
            store,
            intake,
            self._peer_score,
            self._fill_gap,
            self._learn_presence,
            self._anti_entropy.gossiped,
            self._forwarder,
            self._is_known,
            self._slots.is_outgoing,
            self._part_with,
        )
        self._discovery = PeerDiscovery(
            self._host.peer_id,
            self._host.dial,
            self._host.peers,
            lambda: [link.group for link in self._slots.outgoing()],
            self._peer_score.is_banned,
            store.remember_address,
            random.Random(),
        )
        self._visits = Visits(self._host, self._peer_score.is_banned, self._keep_visited, self._discovery.room_changed)
        self._logged: set[str] = set()  # peers of which the log says that they are connected
        self._new_peer = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._host.watch(self._on_connected, self._slots.dialled, self._on_disconnected)

    # ---- what the node uses ------------------------------------------------------------------------------------------

    def addresses(self) -> list[str]:
        """Where this node listens, as multiaddrs with its peer id."""
        return self._host.addresses()

    def advertised(self) -> list[str]:
        """Where others might reach this node, for an invite."""
        return self._host.advertised()

    def reach(self) -> Reach:
        """Who can dial this node, as far as has been seen."""
        return self._host.reach()

    def peers(self) -> list[Peer]:
        """The peers connected now."""
        return [Peer(p, self._host.address_of(p), self._gossip.presence(p)) for p in self._members()]

    def authors(self, compute_class: str) -> frozenset[bytes]:
        """The keys of the peers connected now whose machine is of this class and whose key can sign records."""
        found = set()
        for peer in self.peers():
            if peer.presence is not None and peer.presence.compute_class == compute_class:
                with suppress(MalformedError):
                    found.add(author_of(peer.peer_id))
        return frozenset(found)

    async def wait_for_new_peer(self) -> None:
        """Return when the next peer connects."""
        await self._new_peer.wait()

    async def fetch_blob(
        self, blob_id: bytes, from_peers: Sequence[str] | None = None, *, first: str = "", max_bytes: int
    ) -> bytes | None:
        """Content by its sha256 from any connected peer (or of `from_peers`), checked; None when none has it.

        first: the peer to ask before all others, if it is one of them.
        """
        return await self._blobs.fetch(blob_id, from_peers, first=first, max_bytes=max_bytes)

    async def fetch_file(self, content_id: bytes, progress: Progress) -> str:
        """Bring large content that something refers to into the files, from all peers that have it, as they come.

        `progress` is called with bytes here and bytes in all. Returns why it failed; "" when the content is there. What
        has come stays on disk either way, and is not fetched again.
        """
        return await self._blobs.fetch_file(content_id, progress)

    def announce(self, presence: Presence) -> None:
        """Publish this presence, with the addresses of this node, from time to time and for new peers.

        Addresses that one of the peers connected now could not reach are left out: all hear the same presence.
        """
        links = [self._host.address_of(peer) for peer in self._host.peers()]
        addresses = [a for a in self._host.advertised() if all(may_name(link, a) for link in links)]
        # Loopback is of use only to nodes of the same machine: it is left out unless there is nothing else.
        useful = [address for address in addresses if scope_of(address) is not Scope.MACHINE] or addresses
        self._gossip.announce(replace(presence, addresses=tuple(useful[:MAX_PRESENCE_ADDRESSES])))

    # ---- how the parts meet ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        async with self._host.run(self._settings.listen), self._gossip.run(), trio.open_nursery() as nursery:
            self._nursery = nursery
            for address in self.addresses():
                self._log("listening", address=address)
            for text in self._settings.bootstrap:
                self._learn_chosen(text)
            for text in self._store.anchors():
                self._learn(text, Standing.ANCHOR)
            for text in self._store.addresses():
                self._learn(text, Standing.REACHED)
            for task in (
                self._publish_own,
                self._gossip.publish_leases,
                self._gossip.keep_announcing,
                self._anti_entropy.keep_in_sync,
                self._anti_entropy.keep_asking,
                self._anti_entropy.keep_rebroadcasting,
                self._discovery.run,
                self._watch_own_addresses,
                self._watch_twins,
                self._rotate_connections,
                self._keep_anchors,
                self._tell_unreached,
                self._run_mdns,
                self._run_upnp,
                self._run_rendezvous,
            ):
                nursery.start_soon(self._restart_for_ever, task)
            for peer in self._host.peers():  # those that connected before this node was ready
                self._on_connected(peer, dialled=False)
            try:
                yield
            finally:
                self._note_anchors()
                self._nursery = None
                nursery.cancel_scope.cancel()

    async def _restart_for_ever(self, task: Callable[[], Awaitable[None]]) -> None:
        """Begin a task again if it ends: a fault in one part is logged and costs a second, not the node."""
        while True:
            try:
                await task()
            except Exception as error:
                self._log("network task failed", level="error", task=task.__name__, error=repr(error))
            await trio.sleep(TASK_RESTART_SECONDS)

    async def _publish_own(self) -> None:
        async with self._store.subscribe() as arrivals:
            await self._gossip.publish_own(arrivals)

    async def _tell_unreached(self) -> None:
        await NamedPeers(
            self._settings.bootstrap,
            self._host.connected,
            lambda: not self._host.peers(),
            self._peer_score.is_banned,
            lambda address: reach(self._host, address, private=self._settings.swarm_key is not None),
            self._log,
        ).run()

    async def _run_mdns(self) -> None:
        if not self._settings.lan:
            await trio.sleep_forever()
        from node.network.discovery.mdns import MdnsDiscovery  # brings zeroconf and asyncio, a few MiB

        await MdnsDiscovery(
            self._host.peer_id, self._store.objective, self._host.local_addresses(), self._learn_chosen
        ).run()

    async def _run_upnp(self) -> None:
        port = self._host.private_port()
        if not self._settings.upnp or port is None:
            await trio.sleep_forever()
        else:
            await PortMapping(port, self._on_port_mapped).run()

    def _on_port_mapped(self, address: str | None) -> None:
        self._host.set_external_address(address)
        if address is not None:
            self._log("port opened", address=address, why="the router lets peers in (UPnP)")

    async def _run_rendezvous(self) -> None:
        if not self._settings.public or self._settings.swarm_key is not None:
            await trio.sleep_forever()
        await meet_strangers(
            self._host,
            self._visits,
            self._peer_score,
            self._store,
            self._settings.bootstrap,
            self._settings.dht_bootstrap,
            self._learn_stranger,
            lambda: self._nursery is not None and len(self._members()) < OUTGOING_LEAST,
            self._log,
        )

    def _members(self) -> list[str]:
        return [peer for peer in self._host.peers() if not self._visits.is_one(peer)]

    def _learn_stranger(self, peer: str, transports: Sequence[str], link: str) -> None:
        self._discovery.learn_claimed_addresses(peer, transports, link, crowd_of(link))

    def _keep_visited(self, peer: str) -> bool:
        """Whether a server of the DHT is a peer of this swarm that is wanted; then it is one from now on."""
        wanted = self._host.connected(peer) and self._gossip.is_member(peer) and self._discovery.wants_more()
        if wanted:
            self._on_connected(peer, dialled=True, visited=True)
        return wanted

    async def _rotate_connections(self) -> None:
        """Give up a connection for another from time to time, so that no part of the swarm closes itself off."""
        while True:
            await trio.sleep(REPLACE_SECONDS * random.uniform(0.5, 1.5))
            if len(self._slots.outgoing()) >= OUTGOING_LEAST and self._discovery.others():
                peer = self._slots.to_replace(trio.current_time())
                if peer is not None:
                    await self._give_up(peer)

    async def _keep_anchors(self) -> None:
        """Note from time to time which peers to dial first at the next start."""
        while True:
            await trio.sleep(ANCHORS_SECONDS)
            self._note_anchors()

    def _note_anchors(self) -> None:
        found = [self._discovery.address_of(peer) for peer in self._slots.anchors()]
        addresses = tuple(address for address in found if address is not None)
        try:
            if addresses and addresses != self._store.anchors():  # those of last time stay while there are none
                self._store.remember_anchors(addresses)
        except (OSError, sqlite3.Error) as error:
            self._log("anchors not kept", level="warning", reason=str(error), hint="is the disk full?")

    async def _give_up(self, peer: str) -> None:
        self._discovery.rest(peer)
        await self._host.disconnect(peer)

    async def _watch_own_addresses(self) -> None:
        """Notice that this machine has slept, or has moved to another network, and begin dialling anew.

        The monotonic clock stands still while a machine sleeps, so sleep shows as wall time beyond it: 600 s and 10 s
        between two checks are 590 s of sleep.
        """
        before = self._host.local_addresses()
        ahead = time.time() - time.monotonic()
        while True:
            await trio.sleep(NETWORK_CHECK_SECONDS)
            ahead_now = time.time() - time.monotonic()
            slept = ahead_now - ahead
            ahead = ahead_now
            addresses = self._host.local_addresses()
            if addresses != before or slept > SLEPT_SECONDS:
                self._log("network changed", addresses=len(addresses), slept_seconds=round(max(0.0, slept)))
                before = addresses
                self._discovery.forget_failures()

    def _learn_presence(self, peer: str, addresses: Sequence[str], by: Forwarder) -> None:
        self._discovery.learn_claimed_addresses(peer, addresses, by.address, by.crowd)

    def _forwarder(self, peer: str) -> Forwarder:
        """What counts of a peer that brings presences."""
        address = self._host.address_of(peer)
        known = self._slots.is_outgoing(peer) or self._is_known(peer)
        return Forwarder(address, group_of(address) or peer, known)

    def _is_known(self, peer: str) -> bool:
        return peer in self._chosen or self._discovery.has_reached(peer) or self._is_proven(peer)

    async def _watch_twins(self) -> None:
        """Notice two nodes with one key that are connected at once, as when a home was copied."""
        told: set[str] = set()
        while True:
            await trio.sleep(NETWORK_CHECK_SECONDS)
            for peer, places in self._host.twins().items():
                if peer not in told:
                    told.add(peer)
                    hint = "was its home copied? Its owner must end one of them, before both sign one number"
                    addresses = ", ".join(places)
                    self._log("one key twice", level="warning", peer=short_peer(peer), addresses=addresses, hint=hint)

    def _bringer(self, peer: str) -> Bringer:
        """What the ledger is to know of a peer that brings records."""
        return Bringer(peer, group_of(self._host.address_of(peer)), peer in self._chosen or self._is_proven(peer))

    def _note_new(self, author: bytes, peer: str) -> None:
        if self._store.is_proven(author):
            self._slots.brought_proven(peer, trio.current_time())

    def _is_proven(self, peer: str) -> bool:
        try:
            return self._store.is_proven(_author_of(peer))
        except MalformedError:
            return False  # a key that signs no records

    def _learn_chosen(self, text: str) -> None:
        """Note the address of a peer that a person named, or that is on this local network."""
        self._chosen.add(text.rpartition("/p2p/")[2])
        self._learn(text)

    def _learn(self, text: str, standing: Standing = Standing.NAMED) -> None:
        try:
            self._discovery.learn(text, standing)
        except MalformedError as error:
            self._log("address not usable", level="warning", reason=str(error))

    def _on_connected(self, peer: str, dialled: bool, visited: bool = False) -> None:
        if self._nursery is None or (self._visits.is_one(peer) and not visited):
            return
        if self._peer_score.is_banned(peer):
            self._disconnect(peer)
            return
        self._new_peer.set()
        self._new_peer = trio.Event()
        if dialled or not self._settings.public:  # who dials a public node may only ask its DHT
            self._say_connected(peer)
        self._make_room_for(peer, dialled)
        # One session is enough for both, so one side opens it: the one that dialled. It may have just come and lack
        # much, and takes its peers one after the other. If it does not, the side with the smaller id does later; a
        # request is dropped when a session with that peer begins in the meantime.
        if dialled:
            self._anti_entropy.request_sync(peer)
        elif self._host.peer_id < peer:
            self._anti_entropy.request_sync(peer, SYNC_NOT_OPENED_SECONDS)
        self._gossip.greet()
        self._nursery.start_soon(self._learn_listen_addresses, peer)

    def _make_room_for(self, peer: str, dialled: bool) -> None:
        """Count a new connection in its slots, and hang up on those that have to make way for it."""
        now = trio.current_time()
        for link in self._slots.incoming():
            latency = self._host.latency(link.peer)
            if latency is not None:
                self._slots.measured(link.peer, latency)
        for out in self._slots.connected(peer, self._host.address_of(peer), dialled, now, peer in self._chosen):
            self._log("peer makes way", level="debug", peer=short_peer(out), address=self._host.address_of(out))
            self._disconnect(out)

    def _on_disconnected(self, peer: str) -> None:
        if self._visits.is_one(peer):
            return
        self._anti_entropy.forget(peer)
        link = self._slots.lost(peer)
        self._discovery.lost(peer, math.inf if link is None else trio.current_time() - link.since)
        if self._nursery is not None and peer in self._logged:
            self._log("peer lost", peer=short_peer(peer))
        self._logged.discard(peer)

    def _say_connected(self, peer: str) -> None:
        if peer not in self._logged:
            self._logged.add(peer)
            self._log("peer connected", peer=short_peer(peer), address=self._host.address_of(peer))

    async def _learn_listen_addresses(self, peer: str) -> None:
        """Learn where a new peer of this swarm listens, so that it can be dialled if it does not come back by itself.

        Of one that is of another swarm nothing is learnt, or two swarms that share a server of the DHT would mix.
        """
        since = trio.current_time()
        while trio.current_time() < since + FOREIGN_SECONDS:
            await trio.sleep(IDENTIFY_SECONDS)
            if not self._host.connected(peer):
                return
            if self._gossip.is_member(peer):
                self._say_connected(peer)
                by = self._forwarder(peer)
                self._discovery.learn_claimed_addresses(peer, self._host.claimed_addresses(peer), by.address, by.crowd)
                return

    def _part_with(self, peer: str) -> None:
        """A peer is of another objective's swarm: whoever dialled hangs up, and leaves it alone for long."""
        if self._nursery is not None and self._slots.is_outgoing(peer):
            self._log("peer of another swarm", peer=short_peer(peer), address=self._host.address_of(peer))
            self._nursery.start_soon(self._hang_up_on_other, peer)

    async def _hang_up_on_other(self, peer: str) -> None:
        await self._visits.released(peer)  # it may serve the DHT
        self._discovery.rest(peer, FOREIGN_REST_SECONDS)
        await self._host.disconnect(peer)

    def _fill_gap(self, peer: str) -> None:
        self._anti_entropy.request_sync(peer, GAP_SYNC_SECONDS)

    def _disconnect(self, peer: str) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._host.disconnect, peer)


@asynccontextmanager
async def open_network(
    identity: Identity, store: RecordStore, settings: Settings, log: Log, files: BlobFiles | None = None
) -> AsyncIterator[Network]:
    """Be on the network until the block ends. Raises ListenError when no address can be listened on.

    files: where large content is kept; without them the node has only what the store has.

    No peer, and no failure on a stream, ends the block. Leaving it, also by cancellation, takes about a second at most.
    """
    network = Network(identity, store, settings, log, files)
    failure: Exception | None = None
    async with network.run():
        try:
            yield network
        except Exception as error:  # carried around the nurseries, each of which would wrap it in one more group
            failure = error
    if failure is not None:
        raise failure
