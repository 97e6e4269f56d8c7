"""Who stays connected, and who is believed about addresses: attacks on a real node, over real sockets.

    .venv/bin/python scripts/adversaries_net.py [--only NAME ...] [--seconds 40] [--json]
    PYTHONPATH=CHECKOUT .venv/bin/python scripts/adversaries_net.py      an earlier version under the same attacks

Needs Linux with user namespaces and iproute2. The script enters a network namespace of its own, which has no way out of
this machine, and gives its loopback the public addresses that the nodes and the attacker have: a node treats addresses
of the internet otherwise than those of one machine. All nodes and the attacker run in this one process.

    eclipse outgoing   the victim has dialled five honest nodes; then 60 keys of one address connect to it, and connect
                       again whenever they are hung up on
    eclipse incoming   the same, where the five honest nodes have dialled the victim
    eclipse restart    the victim's address book is filled by presences of keys that all listen at one address; then it
                       is started again, with its ledger
    presences          one attacker passes presences of fresh keys to the victim, padded, which say that they listen
                       where somebody listens who has nothing to do with the swarm
    presences small    the same without padding, so that there are more of them
"""

from __future__ import annotations

import argparse
import contextvars
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

sys.path.append(str(Path(__file__).resolve().parent.parent))

from libp2p.transport.tcp import tcp
from libp2p.utils.varint import encode_uvarint

from node.ledger.store import Ledger
from node.network import Settings, open_network
from node.network.host import Host, parse_address
from node.network.peer_score import PeerScore
from protocol.codec import encode
from protocol.identity import Identity
from protocol.messages import Presence, decode_gossip
from tests.node.network.stranger import PUBSUB, Stranger
from tests.node.records_for_tests import OBJECTIVE

HONEST = tuple(f"11.{network}.0.1" for network in range(1, 6))
VICTIM, ATTACKER, THIRD_PARTY = "12.1.0.1", "66.6.0.6", "99.9.0.9"
ENTERED = "ADVERSARIES_NET"
ATTACKING_KEYS = 60
SETTLE_SECONDS = 5.0
OTHERS_PRESENT = 40  # honest nodes that are not the victim's peers and whose presences it has heard
PADDING_BYTES = 40_000
PRESENCES_PER_SECOND = 150

source_ip: contextvars.ContextVar[str | None] = contextvars.ContextVar("source_ip", default=None)


def enter_network() -> None:
    """Begin this script again in a network namespace of its own whose loopback has all these addresses."""
    if os.environ.get(ENTERED):
        return
    unshare = shutil.which("unshare")
    if unshare is None or shutil.which("ip") is None:
        raise SystemExit("needs unshare (util-linux) and ip (iproute2)")
    addresses = (*HONEST, VICTIM, ATTACKER, THIRD_PARTY)
    adding = " && ".join(["ip link set lo up", *(f"ip address add {ip}/32 dev lo" for ip in addresses)])
    os.environ[ENTERED] = "1"
    again = [unshare, "-Urn", "sh", "-c", f'{adding} && exec "$@"', "sh", sys.executable, *sys.argv]
    os.execv(unshare, again)


class _Dialling:
    """The library's trio, whose TCP connections come from the address that `source_ip` has: all are on one loopback."""

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)

    async def open_tcp_stream(self, host: str, port: int) -> trio.SocketStream:
        return await trio.open_tcp_stream(host, port, local_address=source_ip.get())


def dial_from_source_ip() -> None:
    tcp.trio = _Dialling()


# ---- who takes part --------------------------------------------------------------------------------------------------


@dataclass
class Node:
    """A real node, its address, and what happened to it."""

    ip: str
    identity: Identity
    ledger: Ledger
    network: Any
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return str(self.network.addresses()[0])

    @property
    def peer_id(self) -> str:
        return self.identity.peer_id

    def peers(self) -> set[str]:
        return {peer.peer_id for peer in self.network.peers()}


@asynccontextmanager
async def node_at(ip: str, folder: Path, bootstrap: Sequence[str] = (), port: int = 0) -> AsyncIterator[Node]:
    """A node that listens and dials at this address; started again in the same folder it is the same node."""
    identity = Identity.from_seed(hashlib.sha256(str(folder).encode()).digest())
    events: list[tuple[str, dict[str, Any]]] = []
    ledger = Ledger.open(folder, OBJECTIVE)
    before = source_ip.set(ip)
    settings = Settings([f"/ip4/{ip}/tcp/{port}"], bootstrap)
    try:
        async with open_network(
            identity, ledger, settings, lambda event, level="info", **about: events.append((event, about))
        ) as network:
            source_ip.reset(before)
            network.announce(Presence("cpu", 0, 0, ()))
            yield Node(ip, identity, ledger, network, events)
    finally:
        ledger.close()


@asynccontextmanager
async def stranger_at(ip: str, victim: str, listen: bool = False) -> AsyncIterator[Stranger]:
    identity = Identity.from_seed(os.urandom(32))
    host = Host(identity, PeerScore(lambda *_, **__: None, lambda _: None))
    before = source_ip.set(ip)
    async with host.run([f"/ip4/{ip}/tcp/0"] if listen else []):
        try:
            yield Stranger(host, identity, victim)
        finally:
            source_ip.reset(before)


async def until(condition: Callable[[], object], seconds: float) -> bool:
    with trio.move_on_after(seconds):
        while not condition():
            await trio.sleep(0.05)
        return True
    return False


# ---- eclipse ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Eclipse:
    """honest_links: of the victim, on average over the second half of the attack; attackers_links as well."""

    honest_before: int
    honest_links: float
    attackers_links: float
    connections_made: int  # by the attacker
    victim_cpu_share: float


async def eclipse(folder: Path, seconds: float, victim_dials: bool) -> Eclipse:
    async with AsyncExitStack() as stack:
        if victim_dials:
            honest = [await stack.enter_async_context(node_at(ip, folder / f"{ip}.sqlite")) for ip in HONEST]
            known = [node.address for node in honest]
            victim = await stack.enter_async_context(node_at(VICTIM, folder / "victim.sqlite", known))
        else:
            victim = await stack.enter_async_context(node_at(VICTIM, folder / "victim.sqlite"))
            honest = [
                await stack.enter_async_context(node_at(ip, folder / f"{ip}.sqlite", [victim.address])) for ip in HONEST
            ]
        await until(lambda: len(victim.peers()) == len(HONEST), 20)
        await trio.sleep(SETTLE_SECONDS)
        for node in honest:
            _has_enough_peers(node)
        names = {node.peer_id for node in honest}
        before = len(victim.peers() & names)
        made = [0]
        samples: list[tuple[int, int]] = []
        async with trio.open_nursery() as nursery:
            for number in range(ATTACKING_KEYS):
                nursery.start_soon(_stay_connected, victim.address, number / 10, made)
            begun, cpu = time.monotonic(), time.process_time()
            while time.monotonic() < begun + seconds:
                await trio.sleep(0.25)
                if time.monotonic() > begun + seconds / 2:
                    peers = victim.peers()
                    samples.append((len(peers & names), len(peers - names)))
            share = (time.process_time() - cpu) / (time.monotonic() - begun)
            nursery.cancel_scope.cancel()
    links, attackers = (sum(column) / len(samples) for column in zip(*samples, strict=True))
    return Eclipse(before, round(links, 2), round(attackers, 2), made[0], round(share, 2))


def _has_enough_peers(node: Node) -> None:
    """From now on it dials nobody, as one that has all the connections it wants in a large swarm."""

    async def dial(address: Any) -> bool:
        return False

    node.network._discovery._dial = dial


async def _stay_connected(victim: str, delay: float, made: list[int]) -> None:
    """One key of the attacker's: connects, and again within half a second when it is hung up on."""
    await trio.sleep(delay)
    address = parse_address(victim)
    async with stranger_at(ATTACKER, victim) as stranger:
        while True:
            if not stranger.host.connected(address.peer):
                made[0] += await stranger.host.dial(address)
            await trio.sleep(0.5)


@dataclass(frozen=True)
class Restart:
    """Of the victim's links, some time after it was started again."""

    honest_links: int
    attackers_links: int
    honest_dialled: int
    attackers_dialled: int


async def eclipse_restart(folder: Path, seconds: float) -> Restart:
    async with AsyncExitStack() as stack:
        honest = [await stack.enter_async_context(node_at(ip, folder / f"{ip}.sqlite")) for ip in HONEST]
        names = {node.peer_id for node in honest}
        known = [node.address for node in honest]
        strangers = [
            await stack.enter_async_context(stranger_at(ATTACKER, "", listen=True)) for _ in range(ATTACKING_KEYS)
        ]
        async with node_at(VICTIM, folder / "victim.sqlite", known) as victim:
            port = int(victim.address.split("/")[4])
            await until(lambda: len(victim.peers()) == len(HONEST), 20)
            await trio.sleep(SETTLE_SECONDS)
            strangers[0].victim = victim.address
            stream = await strangers[0].open(PUBSUB)
            for stranger in strangers:
                listening = str(stranger.host.addresses()[0])
                said = stranger.message(_presence(listening, 0))
                await _send(stream, said)
            await trio.sleep(seconds)
        async with node_at(VICTIM, folder / "victim.sqlite", port=port) as victim:
            await trio.sleep(seconds / 2)
            peers = victim.peers()
            dialled = {p for p in peers if _is_dialled(victim, p)}
            return Restart(len(peers & names), len(peers - names), len(dialled & names), len(dialled - names))


def _is_dialled(node: Node, peer: str) -> bool:
    from libp2p.peer.id import ID

    connections = node.network._host.libp2p.get_network().get_connections(ID.from_string(peer))
    return any(connection.muxed_conn.is_initiator_value for connection in connections)


# ---- presences -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Presences:
    sent: int
    third_party_connections: int
    of_the_victim: int  # the others are of its honest peers, to which it has passed presences on
    passed_on: int  # presences of the attacker's that an honest peer of the victim was sent
    bytes_passed_on: int
    honest_known: int
    honest_forgotten: int


async def presence_flood(folder: Path, seconds: float, padded: bool) -> Presences:
    async with AsyncExitStack() as stack:
        honest = [await stack.enter_async_context(node_at(ip, folder / f"{ip}.sqlite")) for ip in HONEST]
        known = [node.address for node in honest]
        victim = await stack.enter_async_context(node_at(VICTIM, folder / "victim.sqlite", known))
        await until(lambda: len(victim.peers()) == len(HONEST), 20)
        observed = [0, 0]
        for node in honest:
            _observe(node, {victim.peer_id}, {VICTIM, *HONEST}, observed)
        present = await _others_present(stack, honest[0])
        names = [*present, *(node.peer_id for node in honest)]
        gossip = victim.network._gossip
        await until(lambda: all(gossip.presence(name) for name in names), 20)
        remembered = [name for name in names if gossip.presence(name)]
        visits: Counter[str] = Counter()
        attacker = await stack.enter_async_context(stranger_at(ATTACKER, victim.address))
        async with trio.open_nursery() as nursery:
            place = f"/ip4/{THIRD_PARTY}/tcp/{await nursery.start(_count_visits, visits)}"
            sent = await _flood(attacker, place, seconds, padded)
            forgotten = sum(gossip.presence(name) is None for name in remembered)
            nursery.cancel_scope.cancel()
    return Presences(sent, visits.total(), visits[VICTIM], observed[0], observed[1], len(remembered), forgotten)


async def _others_present(stack: AsyncExitStack, through: Node) -> list[str]:
    """Honest presences that reach the victim through one of its peers, of nodes with addresses of their own."""
    speaker = await stack.enter_async_context(stranger_at("11.1.0.1", through.address))
    stream = await speaker.open(PUBSUB)
    names = []
    for number in range(OTHERS_PRESENT):
        one = Stranger(speaker.host, Identity.from_seed(os.urandom(32)), through.address)
        names.append(one.identity.peer_id)
        await _send(stream, one.message(_presence(f"/ip4/13.{number}.0.1/tcp/4001", 0)))
        await trio.sleep(0.3)
    return names


def _presence(address: str, padding: int) -> bytes:
    fields: dict[str, Any] = {
        "t": "presence", "class": "cpu", "best": None, "feeds": 0, "records": 0, "addresses": [address],
    }  # fmt: skip
    if padding:
        fields["zz"] = os.urandom(padding)
    return encode(fields)


async def _send(stream: Any, message: Any) -> None:
    from libp2p.pubsub.pb import rpc_pb2

    body = rpc_pb2.RPC(publish=[message]).SerializeToString()
    await stream.write(encode_uvarint(len(body)) + body)


async def _flood(attacker: Stranger, place: str, seconds: float, padded: bool) -> int:
    sent = 0
    begun = trio.current_time()
    stream = await attacker.open(PUBSUB)
    while trio.current_time() < begun + seconds:
        fresh = Stranger(attacker.host, Identity.from_seed(os.urandom(32)), attacker.victim)
        padding = (
            PADDING_BYTES if padded and sent % 4 == 0 else 0
        )  # plain ones too, which no rule about padding refuses
        try:
            await _send(stream, fresh.message(_presence(place, padding)))
        except Exception:
            await trio.sleep(0.5)  # hung up on, or banned: try again as another key would
            with trio.move_on_after(5):
                stream = await _opened_again(attacker)
            continue
        sent += 1
        await trio.sleep(max(0.0, begun + sent / PRESENCES_PER_SECOND - trio.current_time()))
    return sent


async def _opened_again(attacker: Stranger) -> Any:
    while True:
        try:
            return await attacker.open(PUBSUB)
        except Exception:
            await trio.sleep(0.5)


def _observe(node: Node, forwarders: set[str], honest_ips: set[str], observed: list[int]) -> None:
    """Count presences that name the third party, and their bytes, as `node` receives them of these forwarders."""
    pubsub = node.network._gossip._pubsub
    validate = pubsub._validate

    def counted(forwarder: str, publisher: str, data: bytes) -> bool:
        if forwarder in forwarders and THIRD_PARTY.encode() in data:
            decode_gossip(data)
            observed[0] += 1
            observed[1] += len(data)
        return bool(validate(forwarder, publisher, data))

    pubsub._validate = counted


async def _count_visits(visits: Counter[str], task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
    async def visit(stream: trio.SocketStream) -> None:
        visits[stream.socket.getpeername()[0]] += 1
        await stream.aclose()

    listeners = await trio.open_tcp_listeners(0, host=THIRD_PARTY)
    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(visit, listeners)


# ---- the table -------------------------------------------------------------------------------------------------------

ATTACKS: dict[str, Callable[[Path, float], Any]] = {
    "eclipse outgoing": partial(eclipse, victim_dials=True),
    "eclipse incoming": partial(eclipse, victim_dials=False),
    "eclipse restart": eclipse_restart,
    "presences": partial(presence_flood, padded=True),
    "presences small": partial(presence_flood, padded=False),
}


def measure(name: str, seconds: float) -> dict[str, Any]:
    """Play one attack; what came of it, as data."""
    with tempfile.TemporaryDirectory(prefix="adversaries-") as folder:
        return asdict(trio.run(ATTACKS[name], Path(folder), seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    enter_network()
    dial_from_source_ip()
    for name in options.only:
        found = measure(name, options.seconds)
        if options.json:
            print(json.dumps({"attack": name, **found}), flush=True)
        else:
            print(f"{name:18}" + "  ".join(f"{key.replace('_', ' ')} {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
