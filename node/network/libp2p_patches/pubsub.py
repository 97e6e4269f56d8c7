"""Patches for gossip in py-libp2p 0.8.1: Pubsub, which reads and passes on, and GossipSub, which chooses to whom."""

from __future__ import annotations

import logging
import math
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from google.protobuf.message import DecodeError
from libp2p.exceptions import ParseError
from libp2p.host.exceptions import StreamFailure
from libp2p.io.exceptions import IOException, MessageTooLarge
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.validators import signature_validator
from libp2p.stream_muxer.exceptions import MuxedConnError, MuxedStreamError
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from node.network.libp2p_patches.connections import reset
from node.network.parameters import (
    LAZY_DEGREE,
    MAX_CONNECTIONS,
    MAX_RPC_BYTES,
    MAX_SUBSCRIPTIONS,
    MESH_OUTGOING,
    MESSAGE_IDS_PER_CONTROL,
    NEGOTIATE_SECONDS,
)
from node.network.peer_score import PeerScore


def _return_half_windows(stream: Any) -> None:
    """Give a Yamux stream's window back when half of it is used up, as other implementations do.

    Fault: the library gives back what was read at every read. For each small message that is one more frame to
    encrypt, send, receive and decrypt.
    """
    update: Callable[..., Awaitable[None]] = stream._auto_tune_and_send_window_update

    async def update_if_half(*, bytes_read: int = 0) -> None:
        # What may be given back: the window aimed at, without what the peer may still send and what is not read yet. Of
        # a window of 256 KiB with 100 KiB left to the peer and 10 KiB unread, 146 KiB: more than half, so it is given.
        buffered = len(stream.conn.stream_buffers.get(stream.stream_id, b""))
        if stream.target_recv_window - stream.recv_window - buffered >= stream._grow_threshold():
            await update(bytes_read=bytes_read)

    stream._auto_tune_and_send_window_update = update_if_half


class _ReadAheadStream:
    """A stream that reads ahead.

    Fault: the library reads the length of a message byte by byte, each with a lock and a window update.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def read(self, n: int | None = None) -> bytes:
        if not self._buffer:
            self._buffer += await self._stream.read(64 << 10)
        count = len(self._buffer) if n is None else min(n, len(self._buffer))
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class PatchedPubsub(Pubsub):  # type: ignore[misc]  # the library has no types
    """Pubsub whose messages are validated before they are passed on, and in which no message or stream is fatal.

    `validate` (forwarder, publisher, data) says whether a message is passed on; it must not raise. It is also where a
    message is taken in: the library's own subscription queue drops all beyond 32 messages.
    """

    def __init__(
        self,
        host: Any,
        router: Any,
        topic: str,
        validate: Callable[[str, str, bytes], bool],
        peer_score: PeerScore,
        on_elsewhere: Callable[[str, str], None],
    ) -> None:
        """on_elsewhere: called with a peer that subscribes to another topic, and that topic."""
        super().__init__(host, router, strict_signing=True, allowed_topics={topic})
        # Fault: message ids are publisher and counter, and the library starts the counter at the second. So after a
        # restart ids that peers have seen come again, and those messages are dropped.
        self.counter = time.time_ns()
        self._topic = topic
        self._validate = validate
        self._peer_score = peer_score
        self._on_elsewhere = on_elsewhere

    async def push_msg(self, msg_forwarder: Any, msg: Any) -> None:
        """Take one message in and pass it on. Fault: the library's raises on keys and senders it cannot decode."""
        forwarder = str(msg_forwarder)
        try:
            if self._peer_score.is_banned(forwarder) or self._is_msg_seen(msg):
                return
            if msg_forwarder != self.my_id:
                # Not marked as seen: else a forged message with the id of a true one would keep the true one out.
                if list(msg.topicIDs) != [self._topic] or not signature_validator(msg):
                    self._peer_score.note_refusal(forwarder, "message", "wrongly addressed or signed gossip")
                    return
                publisher = ID(msg.from_id)
                if publisher == self.my_id or not self._validate(forwarder, str(publisher), msg.data):
                    self._mark_msg_seen(msg)
                    return
            self._mark_msg_seen(msg)
            await self.router.publish(msg_forwarder, msg)
        except Exception as error:
            self._peer_score.note_refusal(forwarder, "message", f"broken gossip ({type(error).__name__})")

    async def stream_handler(self, stream: Any) -> None:
        """Read a peer's messages until its stream ends.

        Faults: bytes that are no message end the whole service; and the library starts a task for every message,
        however many come. Here they end the stream, and the peer waits its turn.
        """
        peer = stream.muxed_conn.peer_id
        _return_half_windows(stream.muxed_stream)
        reader = _ReadAheadStream(stream)
        try:
            while not self._peer_score.is_banned(str(peer)):
                frame = await read_varint_prefixed_bytes_limited(reader, MAX_RPC_BYTES)
                if not frame:
                    raise ParseError("an empty message")
                rpc = rpc_pb2.RPC()
                rpc.ParseFromString(frame)
                await self._take_in(peer, rpc)
        except (MessageTooLarge, ParseError, DecodeError, ValueError) as error:
            self._peer_score.note_refusal(
                str(peer), "stream", f"garbage where gossip is spoken ({type(error).__name__})"
            )
        except (IOException, MuxedStreamError, MuxedConnError):
            return  # the peer has gone, or has opened another stream
        await reset(stream)
        self._handle_dead_peer(peer)

    async def _handle_new_peer(self, peer_id: Any) -> None:
        """Open this node's stream to a peer. Fault: a peer that takes long to answer is taken for one without gossip.

        Raised as another exception, it makes the library try again.
        """
        begun = trio.current_time()
        try:
            await super()._handle_new_peer(peer_id)
        except StreamFailure as error:
            if trio.current_time() - begun < NEGOTIATE_SECONDS:
                raise
            raise SwarmException("no answer in time") from error

    async def _take_in(self, peer: Any, rpc: Any) -> None:
        """Act on one message.

        The address record that may come with it is left aside: checking its signature every time is what costs the
        library most, and addresses come by other ways. A bound on subscriptions the library has since issue 1349, at
        5,000; it is not asked here, since its loop that reads is replaced.
        """
        rpc.ClearField("senderRecord")
        for message in rpc.publish:
            await self.push_msg(peer, message)
        if len(rpc.subscriptions) > MAX_SUBSCRIPTIONS:
            raise ParseError("too many subscriptions")
        for subscription in rpc.subscriptions:
            self.handle_subscription(peer, subscription)
            if subscription.subscribe and subscription.topicid != self._topic:
                self._on_elsewhere(str(peer), subscription.topicid)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc, peer)

    def _handle_dead_peer(self, peer_id: Any) -> None:
        """Fault: it is called from long-lived loops of the library, which an exception here ends for good."""
        try:
            super()._handle_dead_peer(peer_id)
        except Exception as error:
            logging.getLogger(__name__).debug("contained %r while forgetting %s", error, peer_id)


class PatchedGossipSub(GossipSub):  # type: ignore[misc]  # the library has no types
    """GossipSub with the faults around replay, back-off, memory and the mesh mended.

    mesh_threshold: the score below which a peer is not in the mesh. is_outgoing: whether this node dialled a peer.
    """

    mesh_threshold: float = -math.inf
    is_outgoing: Callable[[str], bool] = staticmethod(lambda _: False)

    async def send_recent_messages(self, peer_id: Any, topic: str) -> None:
        """Replay what is recent through the peer's queue.

        Fault: the library writes beside the task that empties the queue; large frames interleave, and the receiver
        sees garbage.
        """
        for message_id in self.mcache.window(topic):
            message = self.mcache.get(message_id)
            if message is not None:
                self.send_rpc(peer_id, rpc_pb2.RPC(publish=[message]))

    async def flush_pending_messages(self, peer_id: Any) -> None:
        """Nothing is kept for peers that have not subscribed yet: the replay above brings them what is recent."""
        self._pending_messages.pop(peer_id, None)

    async def publish(self, msg_forwarder: Any, pubsub_msg: Any) -> None:
        """Fault: the library keeps up to 100 messages for every connected peer outside the topic.

        With 128 of those and messages of 64 KiB, that is 800 MiB. Here none is kept.
        """
        await super().publish(msg_forwarder, pubsub_msg)
        self._pending_messages.clear()

    async def heartbeat(self) -> None:
        """Fault: an exception in one heartbeat ends the router. Here the heartbeat begins again."""
        while True:
            try:
                await super().heartbeat()
            except Exception as error:
                logging.getLogger(__name__).debug("contained %r in a heartbeat", error)
                await trio.sleep(self.heartbeat_interval)

    def gossip_heartbeat(self) -> dict[Any, dict[str, list[bytes]]]:
        """Which message ids to announce (IHAVE) to which peers outside the mesh, as the specification has it.

        Fault: the library leaves out peers in prune back-off, which then hear of nothing for a minute.
        """
        announced: dict[Any, dict[str, list[bytes]]] = defaultdict(dict)
        for topic, mesh in self.mesh.items():
            message_ids = list(self.mcache.window(topic))
            if not message_ids:
                continue
            subscribers = self.pubsub.peer_topics.get(topic, ())
            outside = [peer for peer in subscribers if peer not in mesh and peer in self.peer_protocol]
            for peer in random.sample(outside, min(len(outside), LAZY_DEGREE)):
                announced[peer][topic] = message_ids
        return announced

    # Fault: of what the specification (v1.1) does for the mesh under attack the library lacks three things. Peers with
    # a bad score stay in it, a GRAFT is taken from any number of peers, and nothing keeps peers that this node dialled.

    def mesh_heartbeat(self) -> tuple[Any, Any]:
        to_graft, to_prune = super().mesh_heartbeat()
        for topic, mesh in self.mesh.items():
            for peer in [peer for peer in mesh if self._is_below_mesh(peer)]:
                mesh.discard(peer)
                to_prune[peer].append(topic)
                if topic in to_graft.get(peer, ()):
                    to_graft[peer].remove(topic)
            outgoing = sum(self.is_outgoing(str(peer)) for peer in mesh)
            for peer in self._outgoing_outside(topic, mesh)[: max(0, MESH_OUTGOING - outgoing)]:
                mesh.add(peer)
                self._notify_mesh_peer_added(peer, topic)
                to_graft[peer].append(topic)
        return to_graft, to_prune

    def _is_below_mesh(self, peer: Any) -> bool:
        return bool(self.scorer.score(peer, []) < self.mesh_threshold)

    def _outgoing_outside(self, topic: str, mesh: Any) -> list[Any]:
        outside = self._get_in_topic_gossipsub_peers_from_minus(topic, MAX_CONNECTIONS, mesh, True)
        return [peer for peer in outside if self.is_outgoing(str(peer)) and not self._is_below_mesh(peer)]

    def _select_peers_for_pruning(self, topic: str, num_to_prune: int) -> list[Any]:
        """Those with the worst scores, any of equals; of peers that this node dialled, MESH_OUTGOING stay."""
        peers = random.sample(sorted(self.mesh[topic]), len(self.mesh[topic]))
        stay = [peer for peer in peers if self.is_outgoing(str(peer))][:MESH_OUTGOING]
        worst_first = sorted((peer for peer in peers if peer not in stay), key=lambda peer: self.scorer.score(peer, []))
        return worst_first[:num_to_prune]

    async def _do_px(self, px_peers: Any) -> None:
        """Fault: a pruning peer may name others to dial, and the library does, even with peer exchange turned off."""

    # Fault: the library keeps state for every topic that a peer names in these four, and answers for each; and it acts
    # on any number of message ids.

    async def handle_graft(self, graft_msg: Any, sender_peer_id: Any) -> None:
        topic = graft_msg.topicID
        if topic not in self.mesh:
            return
        full = len(self.mesh[topic]) >= self.degree_high and not self.is_outgoing(str(sender_peer_id))
        if sender_peer_id not in self.mesh[topic] and (full or self._is_below_mesh(sender_peer_id)):
            await self.emit_prune(topic, sender_peer_id, False, False)
            return
        await super().handle_graft(graft_msg, sender_peer_id)

    async def handle_prune(self, prune_msg: Any, sender_peer_id: Any) -> None:
        if prune_msg.topicID in self.mesh:
            await super().handle_prune(prune_msg, sender_peer_id)

    async def handle_ihave(self, ihave_msg: Any, sender_peer_id: Any) -> None:
        if ihave_msg.topicID in self.mesh:
            del ihave_msg.messageIDs[MESSAGE_IDS_PER_CONTROL:]
            await super().handle_ihave(ihave_msg, sender_peer_id)

    async def handle_iwant(self, iwant_msg: Any, sender_peer_id: Any) -> None:
        del iwant_msg.messageIDs[MESSAGE_IDS_PER_CONTROL:]
        await super().handle_iwant(iwant_msg, sender_peer_id)
