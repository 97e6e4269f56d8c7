"""Patches for the connections, streams and services of a py-libp2p 0.8.1 host."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import trio
from libp2p.io.exceptions import IOException
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.stream_muxer.exceptions import MuxedConnError, MuxedStreamError
from libp2p.stream_muxer.yamux import yamux

from node.network.groups import Scope, host_of, scope_of
from node.network.parameters import (
    ACCEPTED_OF_A_HOST,
    ACCEPTED_OF_A_HOST_PER_SECOND,
    HANDSHAKES,
    HANDSHAKES_PER_ADDRESS,
    HOSTS_REMEMBERED,
    INBOUND_CONNECTIONS,
    RESET_SECONDS,
    STREAMS_PER_PEER,
    UNREAD_BYTES,
    WRITE_SECONDS,
    YAMUX_WINDOW_BYTES,
)
from node.network.peer_score import PeerScore, TokenBuckets


def silence_library_log() -> None:
    """Fault: the library logs ordinary disconnects as errors, on dozens of loggers and in places on the root logger."""
    for name in ("libp2p", *(n for n in logging.root.manager.loggerDict if n.startswith("libp2p."))):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(_is_not_the_library_s)


def _is_not_the_library_s(entry: logging.LogRecord) -> bool:
    return "libp2p" not in entry.pathname


# ---- connections -----------------------------------------------------------------------------------------------------


class AtomicWrites:
    """The encrypted writes under way on all connections of a host. Each happens whole, or its connection ends.

    Fault: the library lets a write be cancelled after the cipher has counted the message and before all of it is sent.
    Noise numbers its messages without sending the numbers, so the other side cannot decrypt anything after that. A
    stream that was given up in the middle of a write, by a timeout or because another peer answered first, cost the
    connection with all its streams.
    """

    def __init__(self) -> None:
        self._under_way: set[trio.CancelScope] = set()
        self._abandoned = False

    def abandon(self) -> None:
        """No write is waited for any longer: the connections are being ended."""
        self._abandoned = True
        for scope in self._under_way:
            scope.cancel()

    def protect(self, secured: Any) -> None:
        """Make the writes of one connection atomic."""
        write: Callable[[bytes], Awaitable[None]] = secured.write

        async def write_whole(data: bytes) -> None:
            deadline = trio.current_time() + WRITE_SECONDS
            # The shield keeps out whatever cancels the caller; only this scope's own deadline, or abandon(), ends it.
            scope = trio.CancelScope(shield=not self._abandoned, deadline=deadline)
            self._under_way.add(scope)
            try:
                with scope:
                    await write(data)
            finally:
                self._under_way.discard(scope)
            if scope.cancelled_caught:
                # Perhaps half of it was sent, so nothing can follow on this connection.
                await reset(secured)
                raise RawConnError("the peer does not read")

        secured.write = write_whole


def patch_new_connections(host: Any) -> AtomicWrites:
    """Patch every connection of the host, as soon as it has its muxer: the three things below.

    The muxer's `new_conn` is the one place through which the connections of both directions pass.
    """
    writes = AtomicWrites()
    muxer = host.get_network().upgrader.muxer_multistream
    new_connection: Callable[[Any, Any], Awaitable[Any]] = muxer.new_conn

    async def new_patched_connection(secured: Any, peer_id: Any) -> Any:
        connection = await new_connection(secured, peer_id)
        writes.protect(secured)
        _note_reads(secured, connection)
        _bound_unread_bytes(connection)
        return connection

    muxer.new_conn = new_patched_connection
    return writes


def _bound_unread_bytes(connection: Any) -> None:
    """Fault: that a peer ignores flow control the library only logs, and buffers all it is sent.

    40 MiB were, for one stream that nobody read. Here such a connection is closed.
    """
    read_body: Callable[[int], Awaitable[bytes]] = connection._read_data_body

    async def read_bounded_body(length: int) -> bytes:
        if length + sum(map(len, connection.stream_buffers.values())) > UNREAD_BYTES:
            raise trio.TooSlowError  # upon which the library closes the connection
        return await read_body(length)

    connection._read_data_body = read_bounded_body


def _note_reads(secured: Any, connection: Any) -> None:
    """Add to a connection when something last came (`last_read_at`), for `cancel_when_silent`. No fault is mended."""
    connection.begun_at = connection.last_read_at = trio.current_time()
    connection.silence_scopes = {}  # scopes of cancel_when_silent, and the seconds of silence that each allows
    read: Callable[..., Awaitable[bytes]] = secured.read

    async def read_and_note(n: int | None = None) -> bytes:
        data = await read(n)
        connection.last_read_at = trio.current_time()
        for scope, seconds in connection.silence_scopes.items():
            scope.deadline = connection.last_read_at + seconds
        return data

    secured.read = read_and_note


@contextmanager
def cancel_when_silent(connections: Sequence[Any], seconds: float) -> Iterator[None]:
    """A block that is cancelled when none of these patched connections has brought anything for so many seconds.

    Fault: the library does not notice a peer whose machine sleeps before TCP does, after minutes.
    """
    with trio.move_on_after(seconds) as scope:
        for connection in connections:
            connection.silence_scopes[scope] = seconds
        try:
            yield
        finally:
            for connection in connections:
                del connection.silence_scopes[scope]


def limit_yamux_windows() -> None:
    """Fault: windows grow to 16 MiB (change 1269), which times 128 connections is more memory than a laptop has.

    The library reads the limit from its module at each use, so this is the one place to set it.
    """
    yamux.MAX_WINDOW_SIZE = YAMUX_WINDOW_BYTES


def release_inbound_slots(host: Any) -> None:
    """Fault: the slot of an inbound connection, and a task, are held until the whole swarm stops.

    So after as many inbound connections as there are slots, over a node's whole life, every new one is refused. Here
    the slot is given back when the connection ends. An exception in the handshake ends only its connection, as in the
    library since issue 417. Half-open connections are bounded for each IP address and in all, or a few idle sockets
    would hold all slots: where there are too many, the oldest of the address with most makes way for the next. Of one
    machine of the internet so many connections are accepted at once, and then one every two seconds: each costs a
    handshake, also one that is hung up on because there is no slot for it. And peers get INBOUND_CONNECTIONS of the
    slots at most: the library has one limit for both directions, so that whoever opened enough connections kept this
    node from dialling.
    """
    network = host.get_network()
    unfinished: dict[str, dict[trio.CancelScope, None]] = {}  # handshakes by IP address, each in the order they came
    accepted = TokenBuckets(ACCEPTED_OF_A_HOST_PER_SECOND, ACCEPTED_OF_A_HOST, HOSTS_REMEMBERED)
    inbound = 0

    async def handle(socket: Any, listen_address: Any, failure: Any) -> None:
        remote = socket.get_remote_address()
        ip = remote[0] if remote else ""
        nonlocal inbound
        if (
            len(unfinished.get(ip, ())) >= HANDSHAKES_PER_ADDRESS
            or inbound >= INBOUND_CONNECTIONS
            or not _takes_one_more(accepted, ip)
        ):
            await reset(socket)
            return
        if sum(map(len, unfinished.values())) >= HANDSHAKES:
            most = max(unfinished.values(), key=len)
            next(iter(most)).cancel()
        inbound += 1
        raw = RawConnection(socket, False)
        connection = None
        try:
            with trio.CancelScope() as handshake:
                unfinished.setdefault(ip, {})[handshake] = None
                try:
                    connection = await network.upgrade_inbound_raw_conn(raw, listen_address)
                finally:
                    del unfinished[ip][handshake]
                    if not unfinished[ip]:
                        del unfinished[ip]  # or the table would grow by every address that ever connected
            if connection is not None:
                await connection.event_closed.wait()
        except Exception:
            return  # a handshake that failed is the peer's business
        finally:
            inbound -= 1
            await reset(raw)

    network._do_handle_inbound_connection = handle


def _takes_one_more(accepted: TokenBuckets, ip: str) -> bool:
    place = f"/ip6/{ip}" if ":" in ip else f"/ip4/{ip}"
    return scope_of(place) is not Scope.INTERNET or accepted.take(host_of(place), trio.current_time())


def disable_automatic_dialling(host: Any) -> None:
    """Fault: the library dials peers it knows of up to a target that no setting turns off. Discovery dials here."""

    async def nothing() -> None:
        return None

    host.get_network().auto_connector.maybe_connect = nothing


# ---- streams and services --------------------------------------------------------------------------------------------


def contain_stream_failures(host: Any, peer_score: PeerScore) -> None:
    """Fault: an exception in the handler of an inbound stream ends the swarm, and a peer may open any number of them.

    Here it ends the stream and counts against the peer; and each peer has STREAMS_PER_PEER streams.
    """
    network = host.get_network()
    inner: Callable[[Any], Awaitable[None]] = network.common_stream_handler
    open_streams: Counter[str] = Counter()

    async def handle(stream: Any) -> None:
        peer = str(stream.muxed_conn.peer_id)
        if peer_score.is_banned(peer):
            await reset(stream)
            return
        if open_streams[peer] >= STREAMS_PER_PEER:
            peer_score.note_refusal(peer, "stream", "too many streams at once")
            await reset(stream)
            return
        open_streams[peer] += 1
        try:
            await inner(stream)
        except (IOException, MuxedStreamError, MuxedConnError):
            return  # the peer has gone
        except Exception as error:
            peer_score.note_refusal(peer, "stream", f"broken stream ({type(error).__name__})")
            await reset(stream)
        finally:
            open_streams[peer] -= 1
            if not open_streams[peer]:
                del open_streams[peer]

    network.set_stream_handler(handle)


def contain_identify_failures(host: Any) -> None:
    """Fault: identify runs as a trio system task, where an exception that escapes ends the whole program."""
    identify: Callable[..., Awaitable[None]] = host._identify_task_entry

    async def contained(peer_id: Any, reason: str) -> None:
        try:
            await identify(peer_id, reason)
        except Exception:
            return  # what a peer says of itself is a convenience; nothing here relies on it

    host._identify_task_entry = contained


def contain_task_failures(service: Any) -> None:
    """Fault: one failed task of a library service ends the service and all its peers (issues 910 and 1120 were of this
    kind).

    Here it ends alone. Call this when the service runs: the library makes its task manager then.
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


async def reset(closable: Any) -> None:
    """End a stream or connection at once. Never raises, and is done even under cancellation."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + RESET_SECONDS):
        try:
            await (closable.reset() if hasattr(closable, "reset") else closable.close())
        except Exception:
            return  # already gone
