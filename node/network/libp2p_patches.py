"""Guards: what py-libp2p 0.8.1 needs around it so that no peer can end, stall or fill this process.

Each guard names the fault it answers; all were seen on the unguarded library. No file of the library is changed: its
classes are subclassed, and single methods of single instances are replaced. It knows the library's insides and nothing
of records, sync or blobs. When the library is upgraded, this is the file to read again.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import trio
from google.protobuf.message import DecodeError
from libp2p.exceptions import ParseError
from libp2p.host.exceptions import StreamFailure
from libp2p.io.exceptions import IOException, MessageTooLarge
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.validators import signature_validator
from libp2p.stream_muxer.exceptions import MuxedConnError, MuxedStreamError
from libp2p.stream_muxer.yamux import yamux
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from node.network.peer_score import PeerScore

YAMUX_WINDOW = 1 << 20  # bytes a peer may have in flight on one stream
CONNECTION_BUFFER = 8 << 20  # bytes a peer may have waiting unread on all streams of one connection
STREAMS_PER_PEER = 64  # streams a peer may have open to us at a time
HANDSHAKES_PER_ADDRESS = 16  # connections from one IP address that are not through their handshake yet
MAX_RPC = 1 << 20  # bytes of one pubsub message, which may hold several publications
MAX_SUBSCRIPTIONS = 16  # there is one topic
MESSAGE_IDS_PER_CONTROL = 1000
GOSSIP_PEERS = 6  # peers outside the mesh that hear of recent messages at each heartbeat (Dlazy of the GossipSub spec)
NEGOTIATE_SECONDS = 20.0  # for a new stream, at both ends: a peer's machine may have more to do than it can
CLOSE_SECONDS = 1.0
WRITE_SECONDS = 10.0


def quiet_library() -> None:
    """The library logs ordinary disconnects as errors, on dozens of loggers and in places on the root logger."""
    for name in ("libp2p", *(n for n in logging.root.manager.loggerDict if n.startswith("libp2p."))):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(_is_ours)


def _is_ours(entry: logging.LogRecord) -> bool:
    return "libp2p" not in entry.pathname


# ---- connections and streams -----------------------------------------------------------------------------------------


class Writes:
    """The encrypted writes under way on all connections of a host, each of which happens whole or ends its connection.

    The library lets a write be cancelled after the cipher has counted the message and before all of it is sent; the
    other side cannot decrypt anything after that. So one stream given up in the middle of a word, by a timeout or
    because a better answer came, cost the connection with all its streams.
    """

    def __init__(self) -> None:
        self._under_way: set[trio.CancelScope] = set()
        self._abandoned = False

    def abandon(self) -> None:
        """No write is waited for any longer: the connections are being ended."""
        self._abandoned = True
        for scope in self._under_way:
            scope.cancel()

    def guard(self, secured: Any) -> None:
        """Make the writes of a connection whole."""
        write: Callable[[bytes], Awaitable[None]] = secured.write

        async def write_whole(data: bytes) -> None:
            deadline = trio.current_time() + WRITE_SECONDS
            scope = trio.CancelScope(shield=not self._abandoned, deadline=deadline)
            self._under_way.add(scope)
            try:
                with scope:
                    await write(data)
            finally:
                self._under_way.discard(scope)
            if scope.cancelled_caught:
                await _reset(secured)
                raise RawConnError("the peer does not read")

        secured.write = write_whole


def guard_connections(host: Any) -> Writes:
    """Make writes whole, and drop a connection whose peer ignores flow control: the library only logs that, and buffers
    all it is sent (40 MiB were, for one stream that nobody read). Note when anything came, for `while_heard`."""
    writes = Writes()
    muxer = host.get_network().upgrader.muxer_multistream
    new_connection: Callable[[Any, Any], Awaitable[Any]] = muxer.new_conn

    async def new_guarded_connection(secured: Any, peer_id: Any) -> Any:
        connection = await new_connection(secured, peer_id)
        writes.guard(secured)
        _note_reads(secured, connection)
        read_body: Callable[[int], Awaitable[bytes]] = connection._read_data_body

        async def read_bounded_body(length: int) -> bytes:
            if length + sum(map(len, connection.stream_buffers.values())) > CONNECTION_BUFFER:
                raise trio.TooSlowError  # upon which the library closes the connection
            return await read_body(length)

        connection._read_data_body = read_bounded_body
        return connection

    muxer.new_conn = new_guarded_connection
    return writes


def _note_reads(secured: Any, connection: Any) -> None:
    """Note when something comes, and let `while_heard` wait for longer."""
    connection.heard_at, connection.waited_for = trio.current_time(), {}
    read: Callable[..., Awaitable[bytes]] = secured.read

    async def read_and_note(n: int | None = None) -> bytes:
        data = await read(n)
        connection.heard_at = trio.current_time()
        for scope, seconds in connection.waited_for.items():
            scope.deadline = connection.heard_at + seconds
        return data

    secured.read = read_and_note


@contextmanager
def while_heard(connections: Sequence[Any], seconds: float) -> Iterator[None]:
    """A block that is cancelled when none of these guarded connections has brought anything for so many seconds."""
    with trio.move_on_after(seconds) as scope:
        for connection in connections:
            connection.waited_for[scope] = seconds
        try:
            yield
        finally:
            for connection in connections:
                del connection.waited_for[scope]


def limit_windows() -> None:
    """Let windows grow to 1 MiB only: the 16 MiB of the library, times 128 connections, is more than a laptop has.

    The library reads the limit from its module at each use, so this is the one place to set it.
    """
    yamux.MAX_WINDOW_SIZE = YAMUX_WINDOW


def contain_streams(host: Any, peer_score: PeerScore) -> None:
    """An exception in an inbound stream's handler ends the swarm; contain it, and bound the streams of each peer."""
    network = host.get_network()
    inner: Callable[[Any], Awaitable[None]] = network.common_stream_handler
    open_streams: Counter[str] = Counter()

    async def handle(stream: Any) -> None:
        peer = str(stream.muxed_conn.peer_id)
        if peer_score.is_banned(peer):
            await _reset(stream)
            return
        if open_streams[peer] >= STREAMS_PER_PEER:
            peer_score.note_refusal(peer, "stream", "too many streams at once")
            await _reset(stream)
            return
        open_streams[peer] += 1
        try:
            await inner(stream)
        except (IOException, MuxedStreamError, MuxedConnError):
            return  # the peer has gone
        except Exception as error:
            peer_score.note_refusal(peer, "stream", f"broken stream ({type(error).__name__})")
            await _reset(stream)
        finally:
            open_streams[peer] -= 1
            if not open_streams[peer]:
                del open_streams[peer]

    network.set_stream_handler(handle)


async def _reset(closable: Any) -> None:
    with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
        try:
            await (closable.reset() if hasattr(closable, "reset") else closable.close())
        except Exception:
            return  # already gone


def free_inbound_slots(host: Any) -> None:
    """Give the slot of an inbound connection back when the connection ends.

    The library holds it, and a task, until the whole swarm stops: after as many inbound connections as there are slots,
    over a node's whole life, every new one is refused. Half-open connections are bounded per IP address besides, or a
    few idle sockets would hold all slots.
    """
    network = host.get_network()
    handshakes: Counter[str] = Counter()

    async def handle(socket: Any, listen_address: Any, failure: Any) -> None:
        remote = socket.get_remote_address()
        ip = remote[0] if remote else ""
        if handshakes[ip] >= HANDSHAKES_PER_ADDRESS:
            await _reset(socket)
            return
        handshakes[ip] += 1
        raw = RawConnection(socket, False)
        try:
            try:
                connection = await network.upgrade_inbound_raw_conn(raw, listen_address)
            finally:
                handshakes[ip] -= 1
                if not handshakes[ip]:
                    del handshakes[ip]
            await connection.event_closed.wait()
        except Exception:
            return  # a handshake that failed is the peer's business
        finally:
            await _reset(raw)

    network._do_handle_inbound_connection = handle


def contain_identify(host: Any) -> None:
    """Identify runs as a trio system task, where an exception that escapes ends the whole program."""
    identify: Callable[..., Awaitable[None]] = host._identify_task_entry

    async def contained(peer_id: Any, reason: str) -> None:
        try:
            await identify(peer_id, reason)
        except Exception:
            return  # what a peer says of itself is a convenience; nothing here relies on it

    host._identify_task_entry = contained


def contain_tasks(service: Any) -> None:
    """One failed task of a library service ends the service and all its peers; let it end alone.

    Call it when the service runs: the library makes its task manager then.
    """
    manager = service.manager
    run_task: Callable[..., None] = manager.run_task

    def run_contained(task: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> None:
        async def contained(*inner: Any) -> None:
            try:
                await task(*inner)
            except Exception as error:
                logging.getLogger(__name__).debug("contained %r in %r", error, task)

        run_task(contained, *args, **options)

    manager.run_task = run_contained


def no_automatic_dialling(host: Any) -> None:
    """The library dials peers it has heard of up to a target that no setting turns off; discovery does the dialling."""

    async def nothing() -> None:
        return None

    host.get_network().auto_connector.maybe_connect = nothing


# ---- gossip ----------------------------------------------------------------------------------------------------------


def _return_half_windows(stream: Any) -> None:
    """Give a Yamux stream's window back when half of it is used up, as other implementations do.

    The library does at every read: one more frame to encrypt, send, receive and decrypt for every small message.
    """
    update: Callable[..., Awaitable[None]] = stream._auto_tune_and_send_window_update

    async def update_if_half(*, bytes_read: int = 0) -> None:
        buffered = len(stream.conn.stream_buffers.get(stream.stream_id, b""))
        if stream.target_recv_window - stream.recv_window - buffered >= stream._grow_threshold():
            await update(bytes_read=bytes_read)

    stream._auto_tune_and_send_window_update = update_if_half


class _BufferedStream:
    """A stream that reads ahead: the library reads lengths byte by byte, each byte a lock and a window update."""

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


class GuardedPubsub(Pubsub):  # type: ignore[misc]  # the library has no types
    """Pubsub whose messages are judged before they are forwarded, and in which no message or stream is fatal.

    `judge` (forwarder, publisher, data) says whether a message is passed on; it must not raise. It is also where a
    message is taken in: the library's own subscription queue drops all beyond 32 messages.
    """

    def __init__(
        self, host: Any, router: Any, topic: str, judge: Callable[[str, str, bytes], bool], peer_score: PeerScore
    ) -> None:
        super().__init__(host, router, strict_signing=True, allowed_topics={topic})
        # Message ids are publisher and counter. The library starts the counter at the second, so after a restart ids
        # that peers have seen come again, and those messages are dropped.
        self.counter = time.time_ns()
        self._topic = topic
        self._judge = judge
        self._peer_score = peer_score

    async def push_msg(self, msg_forwarder: Any, msg: Any) -> None:
        """Take one message in and pass it on. Replaces the library's, which raises on undecodable keys and senders."""
        forwarder = str(msg_forwarder)
        try:
            if self._peer_score.is_banned(forwarder) or self._is_msg_seen(msg):
                return
            if msg_forwarder != self.my_id:
                if list(msg.topicIDs) != [self._topic] or not signature_validator(msg):
                    self._peer_score.note_refusal(forwarder, "message", "wrongly addressed or signed gossip")
                    return
                publisher = ID(msg.from_id)
                if publisher == self.my_id or not self._judge(forwarder, str(publisher), msg.data):
                    self._mark_msg_seen(msg)
                    return
            self._mark_msg_seen(msg)
            await self.router.publish(msg_forwarder, msg)
        except Exception as error:
            self._peer_score.note_refusal(forwarder, "message", f"broken gossip ({type(error).__name__})")

    async def stream_handler(self, stream: Any) -> None:
        """Read a peer's messages until its stream ends; bytes that are none end the stream, not the process.

        Replaces the library's, which also starts a task per message, however many come: here the peer waits its turn.
        """
        peer = stream.muxed_conn.peer_id
        _return_half_windows(stream.muxed_stream)
        reader = _BufferedStream(stream)
        try:
            while not self._peer_score.is_banned(str(peer)):
                frame = await read_varint_prefixed_bytes_limited(reader, MAX_RPC)
                if not frame:
                    raise ParseError("an empty message")
                rpc = rpc_pb2.RPC()
                rpc.ParseFromString(frame)
                await self._take(peer, rpc)
        except (MessageTooLarge, ParseError, DecodeError, ValueError) as error:
            self._peer_score.note_refusal(
                str(peer), "stream", f"garbage where gossip is spoken ({type(error).__name__})"
            )
        except (IOException, MuxedStreamError, MuxedConnError):
            return  # the peer has gone, or has opened another stream
        await _reset(stream)
        self._handle_dead_peer(peer)

    async def _handle_new_peer(self, peer_id: Any) -> None:
        """Open our stream to a peer, again if that took too long: the library takes it for one without gossip then."""
        begun = trio.current_time()
        try:
            await super()._handle_new_peer(peer_id)
        except StreamFailure as error:
            if trio.current_time() - begun < NEGOTIATE_SECONDS:
                raise
            raise SwarmException("no answer in time") from error  # upon which the library tries again

    async def _take(self, peer: Any, rpc: Any) -> None:
        """Act on one message. The address record that may come with it is left aside: checking its signature every time
        is the dearest thing the library does, and addresses come by other ways."""
        rpc.ClearField("senderRecord")
        for message in rpc.publish:
            await self.push_msg(peer, message)
        if len(rpc.subscriptions) > MAX_SUBSCRIPTIONS:
            raise ParseError("too many subscriptions")
        for subscription in rpc.subscriptions:
            self.handle_subscription(peer, subscription)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc, peer)

    def _handle_dead_peer(self, peer_id: Any) -> None:
        """Called from long-lived library loops, which an exception here would end for good."""
        try:
            super()._handle_dead_peer(peer_id)
        except Exception as error:
            logging.getLogger(__name__).debug("contained %r while forgetting %s", error, peer_id)


class GuardedGossipSub(GossipSub):  # type: ignore[misc]  # the library has no types
    """GossipSub with the faults around replay, back-off and unbounded memory put right."""

    async def send_recent_messages(self, peer_id: Any, topic: str) -> None:
        """Replay through the peer's queue. The library writes beside the task that empties the queue; large frames
        interleave, and the receiver sees garbage."""
        for message_id in self.mcache.window(topic):
            message = self.mcache.get(message_id)
            if message is not None:
                self.send_rpc(peer_id, rpc_pb2.RPC(publish=[message]))

    async def flush_pending_messages(self, peer_id: Any) -> None:
        """Nothing is kept for peers that have not subscribed yet: the replay above brings them what is recent."""
        self._pending_messages.pop(peer_id, None)

    async def publish(self, msg_forwarder: Any, pubsub_msg: Any) -> None:
        """The library keeps each message for every connected peer outside the topic, without bound; drop those."""
        await super().publish(msg_forwarder, pubsub_msg)
        self._pending_messages.clear()

    async def heartbeat(self) -> None:
        """An exception in one beat ends the router; begin again instead."""
        while True:
            try:
                await super().heartbeat()
            except Exception as error:
                logging.getLogger(__name__).debug("contained %r in a heartbeat", error)
                await trio.sleep(self.heartbeat_interval)

    def gossip_heartbeat(self) -> dict[Any, dict[str, list[bytes]]]:
        """Tell peers outside the mesh what is recent, those in prune back-off too, as the specification has it."""
        told: dict[Any, dict[str, list[bytes]]] = defaultdict(dict)
        for topic, mesh in self.mesh.items():
            message_ids = list(self.mcache.window(topic))
            outside = [p for p in self.pubsub.peer_topics.get(topic, ()) if p not in mesh and p in self.peer_protocol]
            for peer in random.sample(outside, min(len(outside), GOSSIP_PEERS)) if message_ids else ():
                told[peer][topic] = message_ids
        return told

    async def _do_px(self, px_peers: Any) -> None:
        """A pruning peer may name others to dial, and the library does, even where exchange is turned off."""

    # The library keeps state for every topic that a peer names in these, and answers for each.

    async def handle_graft(self, graft_msg: Any, sender_peer_id: Any) -> None:
        if graft_msg.topicID in self.mesh:
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
