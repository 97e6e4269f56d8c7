"""Nodes that know one address find their swarms by the DHT, and a js-libp2p node finds them; in namespaces.

    sudo .venv/bin/python scripts/rendezvous.py [--nodes 30] [--for-seconds 30] [--without-js]

Needs root and iproute2, for the js node also Node.js 20 and npm. Each node has a network namespace and an address of
its own on one switch with no way out of this machine. Half of them are of one swarm, half of another; all know the
address of one node, which is of the first. They are started, and let go at the same instant. Shown is when each had a
peer of its own swarm, when each swarm was one connected graph, and how many connections between the two there are at
the end. Then a js-libp2p node with @libp2p/kad-dht, which knows the same one address, looks both objectives up.

Exits with 1 when a swarm was not together within ten seconds of each node's start, swarms mixed, or js found nobody.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from namespaces import World
from plain_swarm import PlainNode, wait_for

SWARMS = ("one objective", "another objective")
PORT = 4001
GOAL_SECONDS = 10.0
JS_FOLDER = Path(__file__).resolve().parent / "rendezvous_js"


def together(nodes: Sequence[PlainNode]) -> bool:
    """Whether the connections between these nodes make one graph of them all."""
    peers = {node.of("id"): set(node.of("peer_ids") or ()) for node in nodes}
    if None in peers:
        return False
    reached, new = set[str](), {next(iter(peers))}
    while new:
        reached |= new
        new = {peer for node in new for peer in peers if peer in peers[node] or node in peers[peer]} - reached
    return len(reached) == len(nodes)


def mixed(swarms: Sequence[Sequence[PlainNode]]) -> int:
    """Connections between nodes of different swarms that both ends count as peers; a visit to the DHT is none."""
    swarm_of = {node.of("id"): n for n, swarm in enumerate(swarms) for node in swarm}
    links = {(node.of("id"), peer) for swarm in swarms for node in swarm for peer in node.of("peer_ids") or ()}
    return sum(swarm_of[a] != swarm_of.get(b) and (b, a) in links for a, b in links) // 2


def find_with_js(space: str, server: str) -> dict[str, dict[str, list[str]]]:
    """By the objective's id, the peer ids that a js node finds, and those of them that it reached."""
    if not (JS_FOLDER / "node_modules").exists():
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=JS_FOLDER, check=True)
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in SWARMS]
    command = ["ip", "netns", "exec", space, "node", str(JS_FOLDER / "find.mjs"), server, *digests]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return {}
    found: dict[str, dict[str, list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(options: argparse.Namespace) -> bool:
    good = True
    with ExitStack() as stack:
        world = World()
        stack.callback(world.take_down)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        switch = world.bridge("switch")
        swarms: list[list[PlainNode]] = [[] for _ in SWARMS]
        for n in range(options.nodes):
            space = world.space(f"n{n}")
            world.cable(switch, space, "eth", f"10.77.0.{n + 1}/16")
            arguments = ["--listen", f"/ip4/10.77.0.{n + 1}/tcp/{PORT}", "--public", "--swarm", SWARMS[n % 2]]
            node = PlainNode(folder / str(n), arguments, ["ip", "netns", "exec", space])
            stack.callback(node.stop)
            swarms[n % 2].append(node)
        first = swarms[0][0]
        first.start()
        if wait_for(lambda: first.of("address"), 60) is None:
            print("the first node did not start")
            return False
        server = str(first.of("address"))
        others = [node for swarm in swarms for node in swarm if node is not first]
        for node in others:
            node.arguments = [*node.arguments, "--join", server, "--held"]
            node.start()
            wait_for(partial(node.of, "held"), 60)  # one after the other: importing all at once takes as long
        begun = time.monotonic()
        for node in others:
            assert node.process is not None
            assert node.process.stdin is not None
            node.process.stdin.write("go\n")
            node.process.stdin.flush()
        good &= watch(swarms, begun)
        time.sleep(max(0.0, begun + options.for_seconds - time.monotonic()))
        between = mixed(swarms)
        print(f"connections between the two swarms after {time.monotonic() - begun:.0f} s: {between}")
        good &= between == 0
        if not options.without_js:
            good &= js_finds(world, switch, server, swarms)
        for node in [first, *others]:
            if node.complaints:
                print("complaint:", node.complaints[-1])
    return good


def watch(swarms: Sequence[Sequence[PlainNode]], begun: float) -> bool:
    """Print when each swarm was together; whether that was in time."""
    when: dict[str, float] = {}
    first_peer: dict[int, float] = {}
    nodes = [(swarm, node) for swarm in swarms for node in swarm]
    while time.monotonic() - begun < 60 and len(when) < len(swarms):
        now = time.monotonic() - begun
        for swarm, node in nodes:
            own = {other.of("id") for other in swarm} - {None}
            if id(node) not in first_peer and own & set(node.of("peer_ids") or ()):
                first_peer[id(node)] = now
        for name, swarm in zip(SWARMS, swarms, strict=True):
            if name not in when and together(swarm):
                when[name] = now
        time.sleep(0.05)
    times = sorted(first_peer.values())
    if times:
        print(
            f"first peer of the own swarm: {len(times)} of {len(nodes)} nodes, median {times[len(times) // 2]:.1f} s,"
            f" last {times[-1]:.1f} s"
        )
    for name, swarm in zip(SWARMS, swarms, strict=True):
        print(f"{len(swarm)} nodes of {name}: together after {when.get(name, float('nan')):.1f} s")
    return len(when) == len(swarms) and max(when.values()) <= GOAL_SECONDS


def js_finds(world: World, switch: str, server: str, swarms: Sequence[Sequence[PlainNode]]) -> bool:
    if shutil.which("node") is None or shutil.which("npm") is None:
        print("no Node.js here: js-libp2p was not tried")
        return True
    space = world.space("js")
    world.cable(switch, space, "eth", "10.77.1.1/16")
    good = True
    found = find_with_js(space, server)
    for name, swarm in zip(SWARMS, swarms, strict=True):
        ids = {node.of("id") for node in swarm}
        answer = found.get(hashlib.sha256(name.encode()).hexdigest(), {"found": [], "reached": []})
        theirs, reached = set(answer["found"]), len(answer["reached"])
        print(
            f"js-libp2p found {len(theirs & ids)} of {len(ids)} nodes of {name}, and {len(theirs - ids)} others; "
            f"of the first three it reached {reached}"
        )
        good &= bool(theirs) and theirs <= ids and reached > 0
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=30)
    parser.add_argument("--for-seconds", type=float, default=30.0)
    parser.add_argument("--without-js", action="store_true")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("it makes network namespaces, which takes root: sudo .venv/bin/python scripts/rendezvous.py")
    sys.exit(0 if show(options) else 1)


if __name__ == "__main__":
    main()
