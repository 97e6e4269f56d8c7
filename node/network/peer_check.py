"""Peer check: what becomes of dialling an address, step by step, so that a failure can be told as what it is.

It knows TCP's errors, the first bytes of a libp2p connection and what this protocol's streams are called. Dialling and
streams are the host's. `reach` goes as far as a connection, which is what a node needs to know of an address in an
invite; `check_peer` goes on to ask the peer what it is.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import trio
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.security.noise.exceptions import PeerIDMismatchesPubkey
from libp2p.transport.exceptions import OpenConnectionError

from node.network.frames import BROKEN_STREAM, FramedStream, StreamEndedError, close
from node.network.host import Address, Host, parse_address
from node.network.parameters import (
    CHECK_CONNECT_SECONDS,
    CHECK_HELLO_SECONDS,
    CHECK_PINGS,
    CHECK_STEP_SECONDS,
)
from protocol.codec import MalformedError
from protocol.messages import BLOB_PROTOCOL, MAX_FRAME, SYNC_PROTOCOL, Vector

MULTISTREAM = b"\x13/multistream/1.0.0\n"  # what both ends of an open libp2p connection say first
NONCE_BYTES = 24  # what both ends say first in a private swarm (github.com/libp2p/specs, pnet)
PING = "/ipfs/ping/1.0.0"
PING_BYTES = 32
IDENTIFY = "/ipfs/id/1.0.0"
MAX_IDENTIFY_BYTES = 64 << 10
OWN_PROTOCOLS = (SYNC_PROTOCOL, BLOB_PROTOCOL)
LOOPBACK = ("/ip4/127.", "/ip6/::1/", "/dns4/localhost/", "/dns6/localhost/", "/dns/localhost/")
VERSIONED = re.compile(r"(/autoresearch/\w+)/(\d+)\.[\w.]+")


class Fault(StrEnum):
    """What is wrong with an address, or with the peer there. The order is that of how much it tells."""

    NOT_AN_ADDRESS = "not an address"
    ITSELF = "this node itself"
    OTHER_OBJECTIVE = "other objective"
    OTHER_VERSION = "other version"
    NO_NODE = "no node"
    HUNG_UP = "hung up"
    WRONG_PEER = "wrong peer id"
    OTHER_KEY = "other key"
    PRIVATE = "private swarm"
    OPEN = "open swarm"
    NO_LIBP2P = "not libp2p"
    NO_HANDSHAKE = "no handshake"
    REFUSED = "refused"
    NAME = "name not resolved"
    NO_ROUTE = "no route"
    TIMED_OUT = "timed out"


SENTENCES = {
    Fault.ITSELF: "that is this node's own address; ask another machine for its invite",
    Fault.REFUSED: "the machine answers, but nothing listens at this port (connection refused): is the node running, "
    "and is this still its port? Ask for a fresh invite",
    Fault.NAME: "the name cannot be resolved: is it spelt rightly, and has this machine a name server (DNS)?",
    Fault.NO_ROUTE: "this machine has no way to that network (no route): is it online, and on the same network or VPN?",
    Fault.TIMED_OUT: "nothing answers there (timed out): the machine is off, its address has changed, or a router or "
    "firewall lets nobody in",
    Fault.NO_LIBP2P: "something else than a libp2p node answers at this port: is the address right?",
    Fault.PRIVATE: "the node is in a private swarm and this home has no key for it: ask for an invite, which holds it",
    Fault.OPEN: "the node is in an open swarm, while this home has the key of a private one: use an invite of the swarm"
    " that you mean, or another --home",
    Fault.OTHER_KEY: "the node is in another private swarm, for the keys differ: ask for an invite of its swarm",
    Fault.NO_HANDSHAKE: "a libp2p node is there, but the encrypted connection did not come about in time: try again",
    Fault.HUNG_UP: "what is there hung up at once: it is full, its `allow` or `block` shuts this node out, or it is no"
    " node",
    Fault.NO_NODE: "a libp2p node is there, but it is no autoresearch-node",
}


class NotReachedError(Exception):
    """A step failed. The text is one sentence for people, with what to do."""

    def __init__(self, fault: Fault, sentence: str = "") -> None:
        super().__init__(sentence or SENTENCES[fault])
        self.fault = fault


def most_telling(faults: Mapping[Address, NotReachedError]) -> Address:
    """Which of a peer's addresses best tells what is wrong: one of this machine last, as it is another's there."""
    order = list(Fault)

    def key(address: Address) -> tuple[bool, int]:
        return address.transport.startswith(LOOPBACK), order.index(faults[address].fault)

    return min(faults, key=key)


@dataclass(frozen=True)
class PeerCheck:
    """What was found at an address. fault, why: what is wrong, "" if nothing is; the rest as far as it came.

    agent: the program and version that the peer says it is. objective: what it researches. pings: seconds each.
    """

    address: str
    peer: str = ""
    fault: str = ""
    why: str = ""
    connect_seconds: float | None = None
    pings: tuple[float, ...] = ()
    agent: str = ""
    protocols: tuple[str, ...] = ()
    objective: str = ""


async def reach(host: Host, address: Address, private: bool) -> float:
    """Connect to a peer; returns the seconds it took. Raises NotReachedError.

    private: whether this host has a swarm key.
    """
    if address.peer == host.peer_id:
        raise NotReachedError(Fault.ITSELF)
    if host.connected(address.peer):
        return 0.0
    await _look_at_first_bytes(address, private)
    begun = trio.current_time()
    failure = await host.try_dial(address)
    if failure is not None:
        raise _not_reached(failure, private)
    return trio.current_time() - begun


async def check_peer(host: Host, text: str, objective: bytes | None, private: bool) -> PeerCheck:
    """Connect to the peer at an address and ask it what it is.

    objective: what it should research, if that is known.
    """
    found = PeerCheck(text)
    try:
        address = parse_address(text)
    except MalformedError as error:
        return PeerCheck(text, fault=Fault.NOT_AN_ADDRESS, why=str(error))
    found = replace(found, peer=address.peer)
    try:
        found = replace(found, connect_seconds=await reach(host, address, private))
        said = await _identify(host, address.peer)
        found = replace(found, agent=said.agent_version[:100], protocols=tuple(sorted(said.protocols))[:64])
        _refuse_other_protocols(found.protocols)
        found = replace(found, pings=await _ping(host, address.peer))
        found = replace(found, objective=(await _objective(host, address.peer)).hex())
    except NotReachedError as error:
        return replace(found, fault=error.fault, why=str(error))
    if objective is not None and found.objective != objective.hex():
        why = (
            f"the node researches another objective, {found.objective[:16]}, not {objective.hex()[:16]}: nodes of one "
            "objective are a swarm, so ask for an invite of that one, or join with the invite of this node"
        )
        return replace(found, fault=Fault.OTHER_OBJECTIVE, why=why)
    return found


# ---- connecting ------------------------------------------------------------------------------------------------------


async def _look_at_first_bytes(address: Address, private: bool) -> None:
    """Connect by TCP, say hello and look at what comes back. Raises NotReachedError where it is not what is wanted.

    In a private swarm nothing but 24 random bytes comes before the key is needed, so this tells the two kinds of swarm
    apart without it.
    """
    _, _, name, _, port, *_ = address.transport.split("/")
    try:
        with trio.fail_after(CHECK_CONNECT_SECONDS):
            stream = await trio.open_tcp_stream(name, int(port), happy_eyeballs_delay=0.1)
    except trio.TooSlowError:
        raise NotReachedError(Fault.TIMED_OUT) from None
    except OSError as error:
        raise NotReachedError(_fault_of(error)) from None
    received = b""
    async with stream:
        with trio.move_on_after(CHECK_HELLO_SECONDS) as waiting:
            try:
                await stream.send_all(MULTISTREAM)
                while len(received) < NONCE_BYTES and not received.startswith(MULTISTREAM):
                    part = await stream.receive_some(NONCE_BYTES - len(received))
                    if not part:
                        break
                    received += part
            except (OSError, trio.BrokenResourceError):
                pass  # it hung up, which is judged below by what came before
    is_open = received.startswith(MULTISTREAM)
    if is_open and private:
        raise NotReachedError(Fault.OPEN)
    if not is_open and not private:
        raise NotReachedError(_fault_of_hello(received, silent=waiting.cancelled_caught))


def _fault_of_hello(received: bytes, silent: bool) -> Fault:
    if not received and not silent:
        return Fault.HUNG_UP
    return Fault.PRIVATE if len(received) == NONCE_BYTES and not received.isascii() else Fault.NO_LIBP2P


def _fault_of(error: OSError) -> Fault:
    """trio tries each address of a name and raises one error, caused by all of theirs."""
    if isinstance(error, socket.gaierror):
        return Fault.NAME
    cause = error.__cause__
    errors = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (error if cause is None else cause,)
    numbers = {each.errno for each in errors if isinstance(each, OSError)}
    if errno.ECONNREFUSED in numbers:
        return Fault.REFUSED
    return Fault.TIMED_OUT if numbers == {errno.ETIMEDOUT} else Fault.NO_ROUTE


def _not_reached(failure: Exception, private: bool) -> NotReachedError:
    """What a failed dial means, where TCP and the first bytes were as they should be."""
    for error in _causes(failure):
        if isinstance(error, PeerIDMismatchesPubkey):
            who = re.search(r"remote_peer_id_from_pubkey=(\w+)", str(error))
            is_now = f"it is {who[1]} now" if who else "it is another one now"
            return NotReachedError(
                Fault.WRONG_PEER,
                f"another node than the one named is there ({is_now}): its key has changed, or another node took the "
                "address; ask for a fresh invite",
            )
        if isinstance(error, OpenConnectionError):  # the library asks a name server itself
            return NotReachedError(Fault.NAME, "only this machine knows the name, no name server: give the number")
    return NotReachedError(Fault.OTHER_KEY if private else Fault.NO_HANDSHAKE)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


# ---- asking ----------------------------------------------------------------------------------------------------------


async def _ask(host: Host, peer: str, protocol: str, question: bytes, most: int) -> bytes:
    """Open a stream, write, and read until `most` bytes are there or the peer ends it. Raises NotReachedError."""
    answer = b""
    try:
        with trio.move_on_after(CHECK_STEP_SECONDS):
            stream = await host.open_stream(peer, protocol)
            try:
                if question:
                    await stream.write(question)
                while len(answer) < most:
                    part = await stream.read(most - len(answer))
                    if not part:
                        break
                    answer += part
            finally:
                await close(stream, clean=True)
    except (StreamEndedError, *BROKEN_STREAM):
        pass  # judged by what has come
    if not answer and not host.connected(peer):
        raise NotReachedError(Fault.HUNG_UP)
    return answer


async def _identify(host: Host, peer: str) -> Identify:
    said = Identify()
    answer = await _ask(host, peer, IDENTIFY, b"", MAX_IDENTIFY_BYTES)
    try:
        said.ParseFromString(_without_length(answer))
    except Exception:  # protobuf's own error; a peer may send anything
        return Identify()
    return said


def _without_length(framed: bytes) -> bytes:
    """A message without the variable-length number in front that says how long it is."""
    for position, byte in enumerate(framed[:10], 1):
        if byte < 0x80:
            return framed[position:]
    return b""


def _refuse_other_protocols(protocols: tuple[str, ...]) -> None:
    """Raise NotReachedError where the peer does not speak this version of the protocol."""
    if set(OWN_PROTOCOLS) <= set(protocols):
        return
    theirs = sorted({found[2] for protocol in protocols if (found := VERSIONED.fullmatch(protocol))})
    if not theirs:
        raise NotReachedError(Fault.NO_NODE)
    ours = VERSIONED.fullmatch(SYNC_PROTOCOL)
    assert ours is not None
    raise NotReachedError(
        Fault.OTHER_VERSION,
        f"the node speaks version {', '.join(theirs)} of the protocol and this one {ours[2]}: upgrade the older one",
    )


async def _ping(host: Host, peer: str) -> tuple[float, ...]:
    """Seconds there and back, a few times; fewer where an answer does not come."""
    took = []
    for _ in range(CHECK_PINGS):
        question = os.urandom(PING_BYTES)
        try:
            with trio.fail_after(CHECK_STEP_SECONDS):
                stream = await host.open_stream(peer, PING)
        except (StreamEndedError, trio.TooSlowError):
            break
        begun = trio.current_time()
        try:
            with trio.move_on_after(CHECK_STEP_SECONDS):
                await stream.write(question)
                if await stream.read(PING_BYTES) == question:
                    took.append(trio.current_time() - begun)
        except BROKEN_STREAM:
            break
        finally:
            await close(stream, clean=True)
    return tuple(took)


async def _objective(host: Host, peer: str) -> bytes:
    """What a node researches: a sync session begins with a vector of its records, which names it."""
    try:
        stream = await host.open_stream(peer, SYNC_PROTOCOL)
        try:
            first = await FramedStream(stream, MAX_FRAME).receive()
        finally:
            await close(stream, clean=True)
    except (StreamEndedError, MalformedError, trio.TooSlowError):
        raise NotReachedError(Fault.HUNG_UP) from None
    if not isinstance(first, Vector):
        raise NotReachedError(Fault.NO_NODE)
    return first.objective
