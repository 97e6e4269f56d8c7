"""Gossip: publishing at once what this node has just recorded, and receiving what others publish (GossipSub v1.1).

It validates every message before it is passed on: its own size, form and publisher here, the records in it by
intake.py. It knows the topic of one objective. Whatever gossip misses, anti-entropy brings.
"""

from __future__ import annotations

import math
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID, PROTOCOL_ID_V11
from libp2p.pubsub.score import ScoreParams
from libp2p.tools.anyio_service import background_trio_service

from node.ledger.store import Added, Arrived
from node.network.groups import ip_of, may_name
from node.network.host import Host
from node.network.intake import Intake, is_urgent
from node.network.libp2p_patches.connections import contain_task_failures
from node.network.libp2p_patches.pubsub import PatchedGossipSub, PatchedPubsub
from node.network.parameters import (
    BATCH_BYTES,
    BATCH_SECONDS,
    CACHED_HEARTBEATS,
    CONTROL_PER_SECOND,
    FIRST_HEARTBEAT_SECONDS,
    GOSSIP_THRESHOLD,
    GOSSIPED_HEARTBEATS,
    GRAYLIST_THRESHOLD,
    GREETINGS_PER_SECOND,
    HEARTBEAT_SECONDS,
    MAX_GOSSIP_BYTES,
    MESH_DEGREE,
    MESH_DEGREE_HIGH,
    MESH_DEGREE_LOW,
    MESH_THRESHOLD,
    PRESENCE_SOONEST_SECONDS,
    PRUNE_BACKOFF_SECONDS,
    PUBLISH_THRESHOLD,
    PUBLISHED_AT_ONCE,
    PUBLISHED_PER_SECOND,
    PUBLISHERS_KEPT,
    RECENT_KEPT,
    UNSUBSCRIBE_BACKOFF_SECONDS,
)
from node.network.peer_score import PeerScore, TokenBuckets
from node.network.presences import Forwarder, Presences
from node.network.store import RecordStore
from protocol.codec import MalformedError
from protocol.digests import ALL
from protocol.identity import author_of
from protocol.messages import (
    MAX_BATCH_RECORDS,
    SWARM_TOPICS,
    GossipBatch,
    GossipRecord,
    Lease,
    PaddedError,
    Presence,
    decode_gossip,
    encode_gossip,
    topic,
)
from protocol.records import Record


class Gossip:
    """This node's part in one objective's topic.

    `on_gap` is called with a peer that holds records which this node lacks, `on_addresses` with a peer, where it says
    it listens and who brought that, `on_known` with the id of a record that was here already. `forwarder_of` says what
    is known of a connected peer, `is_known` whether this node knows a peer, `is_outgoing` whether it dialled it.
    `on_elsewhere` is called with a peer that turns out to be of another objective's swarm.
    """

    def __init__(
        self,
        host: Host,
        store: RecordStore,
        intake: Intake,
        peer_score: PeerScore,
        on_gap: Callable[[str], None],
        on_addresses: Callable[[str, Sequence[str], Forwarder], None],
        on_known: Callable[[bytes], None],
        forwarder_of: Callable[[str], Forwarder],
        is_known: Callable[[str], bool],
        is_outgoing: Callable[[str], bool],
        on_elsewhere: Callable[[str], None],
    ) -> None:
        self._host = host
        self._store = store
        self._intake = intake
        self._peer_score = peer_score
        self._on_gap = on_gap
        self._on_addresses = on_addresses
        self._on_known = on_known
        self._forwarder_of = forwarder_of
        self._is_known = is_known
        self._topic = topic(store.objective)
        # Ids of records that came lately, by gossip or sync. One of these that gossip delivers is passed on though it
        # is known: else a record that sync happened to bring to many nodes first would not reach the others by gossip.
        # An old one is not, or a peer could have the whole swarm pass on history again and again.
        self._recent: OrderedDict[bytes, None] = OrderedDict()
        self._presences = Presences(random.Random())
        self._publishers = TokenBuckets(PUBLISHED_PER_SECOND, PUBLISHED_AT_ONCE, PUBLISHERS_KEPT)
        self._own_presence: Presence | None = None
        self._presence_due = trio.Event()
        self._router = _router(peer_score, is_outgoing)
        self._pubsub = PatchedPubsub(
            host.libp2p, self._router, self._topic, self._validate, peer_score, self._note_topic
        )
        self._on_elsewhere = on_elsewhere

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Be part of the topic until the block ends."""
        async with background_trio_service(self._router), background_trio_service(self._pubsub):
            contain_task_failures(self._router)
            contain_task_failures(self._pubsub)
            await self._pubsub.wait_until_ready()
            await self._pubsub.subscribe(self._topic)
            yield

    # ---- publishing --------------------------------------------------------------------------------------------------

    async def publish_own(self, arrivals: trio.MemoryReceiveChannel[Arrived]) -> None:
        """Publish this node's records as they are made, for as long as `arrivals` lasts.

        Urgent ones go at once. The others wait for company until an urgent one comes (a feed is taken in order), they
        fill a message, or BATCH_SECONDS have passed.
        """
        waiting: list[bytes] = []
        due = math.inf
        while True:
            with trio.move_on_at(due) as until_due:
                arrived = await arrivals.receive()
            if not until_due.cancelled_caught:
                self._note_recent(arrived.record)
                if arrived.origin != "own":
                    continue
                waiting.append(arrived.record.wire())
                due = min(due, trio.current_time() + BATCH_SECONDS)
                if not is_urgent(arrived.record) and sum(map(len, waiting)) < BATCH_BYTES:
                    continue
            for message in batches(waiting):
                await self._pubsub.publish(self._topic, encode_gossip(message))
            waiting = []
            due = math.inf

    def _note_recent(self, record: Record) -> None:
        self._recent[record.id] = None
        if len(self._recent) > RECENT_KEPT:
            self._recent.popitem(last=False)

    async def publish_leases(self) -> None:
        """Publish this node's leases as it takes them."""
        async with self._store.leases.announced() as leases:
            async for lease in leases:
                await self._pubsub.publish(self._topic, encode_gossip(lease))

    def _note_topic(self, peer: str, other: str) -> None:
        if other.startswith(SWARM_TOPICS) and not self.is_member(peer):
            self._on_elsewhere(peer)

    def is_member(self, peer: str) -> bool:
        """Whether a connected peer is subscribed to the topic of this objective."""
        return ID.from_string(peer) in self._pubsub.peer_topics.get(self._topic, ())

    def announce(self, presence: Presence) -> None:
        """Set what this node says of itself. It is published when that is due, every half minute or more rarely."""
        if self._own_presence is None:
            self._presence_due.set()
        self._own_presence = presence

    def greet(self) -> None:
        """A new peer is connected: publish soon what this node is, and what it is trying."""
        self._presence_due.set()

    async def keep_announcing(self) -> None:
        """Publish this node's presence, regularly and for new peers, for ever."""
        while True:
            # The random factor spreads nodes that were started at one moment.
            with trio.move_on_after(
                self._presences.seconds_between(self._feeds()) * random.uniform(0.8, 1.2)
            ) as regular_wait:
                await self._presence_due.wait()
                self._presence_due = trio.Event()
                await trio.sleep(greeting_seconds(self._presences.swarm_size(self._feeds())))
            if self._own_presence is not None:
                await self._pubsub.publish(self._topic, encode_gossip(self._own_presence))
            for_new_peer = not regular_wait.cancelled_caught
            if for_new_peer:
                for lease in self._store.leases.own(time.monotonic()):
                    await self._pubsub.publish(self._topic, encode_gossip(lease))

    # ---- receiving ---------------------------------------------------------------------------------------------------

    def presence(self, peer: str) -> Presence | None:
        """What a peer lately said of itself; None when that is too long ago."""
        return self._presences.of(peer, trio.current_time(), self._feeds())

    def _feeds(self) -> int:
        return self._store.heads.digest(ALL).count

    def _validate(self, forwarder: str, publisher: str, data: bytes) -> bool:
        """Take a message in; whether to pass it on. Never raises."""
        try:
            if len(data) > MAX_GOSSIP_BYTES:
                raise MalformedError("a gossip message is too large")
            message = decode_gossip(data)
            if not self._peer_score.is_allowed(publisher):
                return False
            if not self._publishers.take(publisher, trio.current_time()):
                self._peer_score.note_refusal(
                    forwarder, "message", "its publisher says too much", forwarder == publisher
                )
                return False
            if isinstance(message, Presence):
                return self._take_presence(forwarder, publisher, message)
            if isinstance(message, Lease):
                return self._store.leases.hear(publisher, message, time.monotonic())
            wires = (message.wire,) if isinstance(message, GossipRecord) else message.wires
            # All are opened before any is kept: a message with one bad record is refused as a whole.
            records = [self._open(wire, publisher) for wire in wires]
        except PaddedError as error:
            self._peer_score.note_refusal(forwarder, "message", str(error), offence=forwarder == publisher)
            return False
        except MalformedError as error:
            self._peer_score.note_refusal(forwarder, "message", str(error))
            return False
        passed_on = [self._take_record(forwarder, record) for record in records]  # each of them, so no any() over it
        return any(passed_on)

    def _open(self, wire: bytes, publisher: str) -> Record:
        """A record, whose author must be the publisher: a stranger may bring old records by sync only.

        Raises MalformedError.
        """
        record = self._intake.open(wire)
        if author_of(publisher) != record.author:
            raise MalformedError("a record published by another than its author")
        return record

    def _take_presence(self, forwarder: str, publisher: str, presence: Presence) -> bool:
        """Whether to pass it on: not when the publisher, or whoever forwards it, sends too many; nor when it names
        addresses of another peer, or such as may not be named over this link (`may_name`): over the next they might.
        """
        named = [address.rpartition("/p2p/")[2] for address in presence.addresses if "/p2p/" in address]
        if any(peer != publisher for peer in named):
            said = "a presence that names addresses of another peer"
            self._peer_score.note_refusal(forwarder, "message", said, offence=forwarder == publisher)
            return False
        by = self._forwarder_of(forwarder)
        known, connected = self._is_known(publisher), self._host.connected(publisher)
        now = trio.current_time()
        if not self._presences.take(publisher, presence, by, now, self._feeds(), known=known, connected=connected):
            return False
        self._on_addresses(publisher, presence.addresses, by)
        return all(ip_of(address) is None or may_name(by.address, address) for address in presence.addresses)

    def _take_record(self, forwarder: str, record: Record) -> bool:
        """Whether to pass it on: when it is new, or came lately; a gap too, since others may hold what is before it."""
        match self._intake.keep(record, forwarder):
            case Added.NEW:
                return True
            case Added.KNOWN:
                self._on_known(record.id)
                recent = record.id in self._recent
                if not recent:
                    self._peer_score.note_refusal(forwarder, "record", "an old one, said again", offence=False)
                return recent
            case Added.GAP:
                self._on_gap(forwarder)
                return True
            case Added.FORK:
                self._on_gap(forwarder)  # by sync it is told of the fork, which gossip does not carry
                return False
            case _:
                return False


def _router(peer_score: PeerScore, is_outgoing: Callable[[str], bool]) -> PatchedGossipSub:
    """GossipSub v1.1 for a swarm that may be a few machines in one house.

    Left out of what the library offers: v1.2's announcements of large messages (IDONTWANT), which cost it more than
    they save (latency up to 50 times worse in a busy swarm); its own rules against spam and eclipse attacks (10
    messages a second, 3 different IP addresses in the mesh), which do not fit such a swarm; its count of peers at one
    IP address, which never sees an address, as no connection of Yamux has the attribute that it reads; peer exchange,
    since an unsigned claim of a peer about others is worth nothing here.
    """
    router = PatchedGossipSub(
        protocols=[PROTOCOL_ID_V11, PROTOCOL_ID],
        degree=MESH_DEGREE,
        degree_low=MESH_DEGREE_LOW,
        degree_high=MESH_DEGREE_HIGH,
        heartbeat_interval=HEARTBEAT_SECONDS,
        heartbeat_initial_delay=FIRST_HEARTBEAT_SECONDS,
        gossip_window=GOSSIPED_HEARTBEATS,
        gossip_history=CACHED_HEARTBEATS,
        prune_back_off=PRUNE_BACKOFF_SECONDS,
        unsubscribe_back_off=UNSUBSCRIBE_BACKOFF_SECONDS,
        do_px=False,
        adaptive_gossip_enabled=False,
        spam_protection_enabled=False,
        eclipse_protection_enabled=False,
        score_params=ScoreParams(
            # The specification's P5 and P6, which the library calls p6. All other parts of the score have weight 0.
            app_specific_score_fn=lambda peer: peer_score.score(str(peer)),
            p6_appl_slack_weight=1.0,
            gossip_threshold=GOSSIP_THRESHOLD,
            publish_threshold=PUBLISH_THRESHOLD,
            graylist_threshold=GRAYLIST_THRESHOLD,
        ),
    )
    router.max_iwant_requests_per_second = CONTROL_PER_SECOND
    router.max_ihave_messages_per_second = CONTROL_PER_SECOND
    router.mesh_threshold = MESH_THRESHOLD
    router.is_outgoing = is_outgoing
    return router


def greeting_seconds(swarm_size: int) -> float:
    """Seconds from a new peer's connection to the presence published for it, and for others that connect meanwhile.

    At least 2: a peer's subscription to the topic comes a moment after its connection. In a larger swarm longer, since
    all of the new peer's neighbours do the same.
    """
    return max(PRESENCE_SOONEST_SECONDS, swarm_size / GREETINGS_PER_SECOND)


def batches(wires: Sequence[bytes]) -> list[GossipRecord | GossipBatch]:
    """Records in as few messages as their limits allow, in order."""
    messages: list[GossipRecord | GossipBatch] = []
    group: list[bytes] = []
    for wire in wires:
        if group and (len(group) == MAX_BATCH_RECORDS or sum(map(len, group)) + len(wire) > BATCH_BYTES):
            messages.append(GossipBatch(tuple(group)))
            group = []
        group.append(wire)
    if group:
        messages.append(GossipBatch(tuple(group)) if len(group) > 1 else GossipRecord(group[0]))
    return messages
