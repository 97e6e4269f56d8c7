"""Gossip: saying at once what has just been recorded, and hearing what others say.

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
from dataclasses import dataclass

import trio
from libp2p.pubsub.gossipsub import PROTOCOL_ID, PROTOCOL_ID_V11
from libp2p.pubsub.score import ScoreParams
from libp2p.tools.anyio_service import background_trio_service

from node.ledger.store import Added, Arrived
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
    PRESENCE_SECONDS,
    PRESENCE_SOONEST_SECONDS,
    PRESENCES_KEPT,
    PRESENCES_MISSED,
    PRESENCES_PER_SECOND,
    PRUNE_BACKOFF_SECONDS,
    PUBLISH_THRESHOLD,
    PUBLISHED_AT_ONCE,
    PUBLISHED_PER_SECOND,
    PUBLISHERS_KEPT,
    RECENT_KEPT,
    UNSUBSCRIBE_BACKOFF_SECONDS,
)
from node.network.peer_score import PeerScore, TokenBuckets
from node.network.store import Store
from protocol.codec import MalformedError
from protocol.digests import ALL
from protocol.identity import author_of
from protocol.messages import (
    MAX_BATCH_RECORDS,
    GossipBatch,
    GossipRecord,
    Lease,
    Presence,
    decode_gossip,
    encode_gossip,
    topic,
)
from protocol.records import Record


@dataclass(frozen=True)
class _Heard:
    presence: Presence
    at: float


class Gossip:
    """The conversation in one objective's topic.

    `gap` is called with the peer that holds what we lack, `whereabouts` with a peer and where it says it listens,
    `known` with the id of a record that was here already.
    """

    def __init__(
        self,
        host: Host,
        store: Store,
        intake: Intake,
        peer_score: PeerScore,
        gap: Callable[[str], None],
        whereabouts: Callable[[str, list[str]], None],
        known: Callable[[bytes], None],
    ) -> None:
        self._store = store
        self._intake = intake
        self._peer_score = peer_score
        self._gap = gap
        self._whereabouts = whereabouts
        self._known = known
        self._topic = topic(store.objective)
        # The recent ones let a record travel on by gossip that sync happened to bring here first.
        self._recent: OrderedDict[bytes, None] = OrderedDict()
        self._presences: OrderedDict[str, _Heard] = OrderedDict()
        self._publishers = TokenBuckets(PUBLISHED_PER_SECOND, PUBLISHED_AT_ONCE, PUBLISHERS_KEPT)
        self._own_presence: Presence | None = None
        self._presence_due = trio.Event()
        # GossipSub 1.2's announcements of large messages cost this library more than they save (latency up to 50 times
        # worse in a busy swarm), and its own spam and eclipse rules (10 messages a second, 3 different IP addresses in
        # the mesh) do not fit a swarm of a few machines in one house.
        self._router = PatchedGossipSub(
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
                app_specific_score_fn=lambda peer: peer_score.score(str(peer)),
                p6_appl_slack_weight=1.0,
                gossip_threshold=GOSSIP_THRESHOLD,
                publish_threshold=PUBLISH_THRESHOLD,
                graylist_threshold=GRAYLIST_THRESHOLD,
            ),
        )
        self._router.max_iwant_requests_per_second = CONTROL_PER_SECOND
        self._router.max_ihave_messages_per_second = CONTROL_PER_SECOND
        self._pubsub = PatchedPubsub(host.libp2p, self._router, self._topic, self._validate, peer_score)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Be part of the topic until the block ends."""
        async with background_trio_service(self._router), background_trio_service(self._pubsub):
            contain_task_failures(self._router)
            contain_task_failures(self._pubsub)
            await self._pubsub.wait_until_ready()
            await self._pubsub.subscribe(self._topic)
            yield

    # ---- saying ------------------------------------------------------------------------------------------------------

    async def publish_own(self, arrivals: trio.MemoryReceiveChannel[Arrived]) -> None:
        """Say this node's records as they are made, for as long as `arrivals` lasts.

        Discoveries and replications go at once. What did not work waits for company, until one of those comes (a feed
        is taken in order), it is enough, or BATCH_SECONDS have passed.
        """
        waiting: list[bytes] = []
        due = math.inf
        while True:
            with trio.move_on_at(due) as patience:
                arrived = await arrivals.receive()
            if not patience.cancelled_caught:
                self._note_recent(arrived.record)
                if arrived.origin != "own":
                    continue
                waiting.append(arrived.record.wire())
                due = min(due, trio.current_time() + BATCH_SECONDS)
                if not is_urgent(arrived.record) and sum(map(len, waiting)) < BATCH_BYTES:
                    continue
            for message in batches(waiting):
                await self._pubsub.publish(self._topic, encode_gossip(message))
            waiting, due = [], math.inf

    def _note_recent(self, record: Record) -> None:
        self._recent[record.id] = None
        if len(self._recent) > RECENT_KEPT:
            self._recent.popitem(last=False)

    async def publish_leases(self) -> None:
        """Say what this node is trying, as it is told to."""
        async with self._store.leases.announced() as leases:
            async for lease in leases:
                await self._pubsub.publish(self._topic, encode_gossip(lease))

    def announce(self, presence: Presence) -> None:
        """Set what this node says of itself; it goes out when its turn comes, and again every half minute or later."""
        if self._own_presence is None:
            self._presence_due.set()
        self._own_presence = presence

    def greet(self) -> None:
        """Somebody new is here: say soon who we are and what we are trying."""
        self._presence_due.set()

    async def keep_announcing(self) -> None:
        while True:
            with trio.move_on_after(self._presence_seconds() * random.uniform(0.8, 1.2)) as patience:
                await self._presence_due.wait()
                self._presence_due = trio.Event()
                await trio.sleep(greeting_seconds(self._how_many()))
            if self._own_presence is not None:
                await self._pubsub.publish(self._topic, encode_gossip(self._own_presence))
            if not patience.cancelled_caught:  # for a newcomer
                for lease in self._store.leases.own(time.monotonic()):
                    await self._pubsub.publish(self._topic, encode_gossip(lease))

    # ---- hearing -----------------------------------------------------------------------------------------------------

    def presence(self, peer: str) -> Presence | None:
        """What a peer lately said of itself."""
        heard = self._presences.get(peer)
        return None if heard is None or self._stale(heard) else heard.presence

    def _stale(self, heard: _Heard) -> bool:
        return trio.current_time() - heard.at > PRESENCES_MISSED * self._presence_seconds()

    def _presence_seconds(self) -> float:
        """How often to say that we are here, and to expect it of others."""
        return presence_seconds(self._how_many())

    def _how_many(self) -> int:
        return publishers(len(self._presences), self._store.heads.digest(ALL).count)

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
                return self._hear_presence(publisher, message)
            if isinstance(message, Lease):
                return self._store.leases.hear(publisher, message, time.monotonic())
            wires = (message.wire,) if isinstance(message, GossipRecord) else message.wires
            records = [self._open(wire, publisher) for wire in wires]  # all, before any is kept
        except MalformedError as error:
            self._peer_score.note_refusal(forwarder, "message", str(error))
            return False
        heard = [self._hear_record(forwarder, record) for record in records]
        return any(heard)

    def _open(self, wire: bytes, publisher: str) -> Record:
        """Raises MalformedError."""
        record = self._intake.open(wire)
        if author_of(publisher) != record.author:
            raise MalformedError("a record published by another than its author")
        return record

    def _hear_presence(self, publisher: str, presence: Presence) -> bool:
        now = trio.current_time()
        last = self._presences.get(publisher)
        if last is not None and now - last.at < PRESENCE_SOONEST_SECONDS / 2:
            return False
        self._presences[publisher] = _Heard(presence, now)
        self._presences.move_to_end(publisher)
        while len(self._presences) > PRESENCES_KEPT or self._stale(next(iter(self._presences.values()))):
            self._presences.popitem(last=False)
        self._whereabouts(publisher, list(presence.addresses))
        return True

    def _hear_record(self, forwarder: str, record: Record) -> bool:
        match self._intake.keep(record, forwarder):
            case Added.NEW:
                return True
            case Added.KNOWN:
                self._known(record.id)
                fresh = record.id in self._recent
                if not fresh:
                    self._peer_score.note_refusal(forwarder, "record", "an old one, said again", offence=False)
                return fresh
            case Added.GAP:
                self._gap(forwarder)
                return True
            case _:
                return False


def publishers(heard: int, feeds: int) -> int:
    """How many say that they are here: those heard of lately, as far as that is kept; beyond, as many as have feeds."""
    return heard if heard < PRESENCES_KEPT else max(heard, feeds)


def presence_seconds(publishers: int) -> float:
    """How often each of so many says that it is here: less often in a larger swarm."""
    return max(PRESENCE_SECONDS, publishers / PRESENCES_PER_SECOND)


def greeting_seconds(publishers: int) -> float:
    """How long a newcomer is let wait to be greeted, together with whoever else comes meanwhile.

    Its subscription comes a moment after it.
    """
    return max(PRESENCE_SOONEST_SECONDS, publishers / GREETINGS_PER_SECOND)


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
