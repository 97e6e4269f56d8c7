"""What does a node do about a peer that means harm? Every trick is played on a real node, one after the other.

    .venv/bin/python scripts/hostile_peer.py [--tokens 32768]

The victim is a real node in a process of its own that only replicates. First come broken, forged, replayed and forked
messages, each from a stranger of its own; then discoveries whose training scripts attack the machine or the score,
published and served correctly. Each must lead to one clear line in the victim's log, to no adoption, and to a node
that still answers. Last comes an honest discovery, which must be adopted: the proof that the rest was refused for
what it was.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from hostile_sources import ESCAPED, hostile_sources
from libp2p.utils.varint import encode_uvarint
from swarm_here import NodeProcess, ended_afterwards, heard, small_objective

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.ledger.store import Ledger
from node.network import Settings, open_network
from node.objective.edits import SetConstant, apply
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.platform.log import render_line
from protocol.identity import Identity
from protocol.messages import GossipRecord, Vector, encode_gossip, encode_message
from protocol.objective import decode_invite
from protocol.records import Effect, Record, sign_record
from tests.node.network.stranger import PUBSUB, Stranger, stranger_on
from tests.node.records_for_tests import experiment

PATIENCE_SECONDS = 120.0
RUN_LIMIT_SECONDS = 30
CLAIM = Effect(-0.9, 0.01, 3)

Attack = Callable[[Stranger], Awaitable[None]]


def record_of(stranger: Stranger, title: str, objective: bytes | None = None) -> Record:
    """The first record of the stranger's feed: a dull one, so that nothing is re-run for it."""
    body = experiment(title, decision="no_gain")
    return sign_record(stranger.identity, objective or stranger.objective, 0, bytes(32), 0, body)


async def say(stranger: Stranger, wire: bytes) -> None:
    await stranger.gossip(stranger.message(encode_gossip(GossipRecord(wire))))


async def garbage(stranger: Stranger) -> None:
    await stranger.gossip_bytes(b"\xff" * 200)


async def oversized(stranger: Stranger) -> None:
    stream = await stranger.open(PUBSUB)
    await stream.write(encode_uvarint(50_000_000) + b"x" * 1000)


async def not_msgpack(stranger: Stranger) -> None:
    await stranger.gossip(stranger.message(b"\xc1 garbage"))


async def wrongly_signed_message(stranger: Stranger) -> None:
    await stranger.gossip(stranger.message(b"x", signature=bytes(64)))


async def wrongly_signed_record(stranger: Stranger) -> None:
    wire = record_of(stranger, "forged").wire()
    await say(stranger, wire[:-1] + bytes([wire[-1] ^ 1]))


async def forked(stranger: Stranger) -> None:
    await say(stranger, record_of(stranger, "one past").wire())
    await trio.sleep(0.5)
    await say(stranger, record_of(stranger, "another past").wire())


async def unknown_objective(stranger: Stranger) -> None:
    await say(stranger, record_of(stranger, "elsewhere", os.urandom(32)).wire())


async def sync_of_unknown_objective(stranger: Stranger) -> None:
    stream = await stranger.open("/autoresearch/sync/1.0.0")
    await stranger.send(stream, encode_message(Vector(os.urandom(32), ())))


async def junk_stream(stranger: Stranger) -> None:
    stream = await stranger.open("/autoresearch/blob/1.0.0")
    await stream.write(b"GET / HTTP/1.1\r\n\r\n")


MESSAGES: dict[str, tuple[Attack, str]] = {
    "garbage": (garbage, "garbage where gossip is spoken"),
    "an oversized message": (oversized, "garbage where gossip is spoken"),
    "a message that is no msgpack": (not_msgpack, "msgpack"),
    "a wrongly signed message": (wrongly_signed_message, "wrongly addressed or signed"),
    "a wrongly signed record": (wrongly_signed_record, "signature"),
    "a forked feed": (forked, "fork found"),
    "a record of an unknown objective": (unknown_objective, "another objective"),
    "a sync for an unknown objective": (sync_of_unknown_objective, "another objective"),
    "junk on a stream": (junk_stream, "larger than allowed"),
}


@dataclass
class Scene:
    """The victim, and the table of what became of it."""

    victim: NodeProcess
    objective: Objective
    good: bool = True

    def address(self) -> str:
        return decode_invite(self.victim.invite()).addresses[0]

    async def event(self, what: Callable[[dict[str, Any]], bool], since: int) -> dict[str, Any] | None:
        with trio.move_on_after(PATIENCE_SECONDS):
            while True:
                found = [event for event in self.victim.events()[since:] if what(event)]
                if found:
                    return found[0]
                await trio.sleep(0.1)
        return None

    def row(self, case: str, event: dict[str, Any] | None, as_expected: bool) -> None:
        """Print one case: what the victim's log says of it, and whether the victim is still well."""
        line = " / ".join(render_line(event, False).splitlines()[:1] + _last_output(event)) if event else "NO LINE"
        alive = self.victim.running() and self.victim.ask("status")["running"]
        adopted = any(e.get("event") == "adopted" for e in self.victim.events())
        good = as_expected and alive and not adopted and ESCAPED not in str(event)
        self.good &= good
        print(f"{'ok ' if good else 'BAD'} {case:42} {line[10:]}", flush=True)


def _last_output(event: dict[str, Any]) -> list[str]:
    """The last line that was printed by what was run, as far as it fits."""
    return [textwrap.shorten(line, 90, placeholder=" …") for line in str(event.get("log_tail") or "").splitlines()[-1:]]


async def play_messages(scene: Scene) -> None:
    for case, (attack, said) in MESSAGES.items():
        since = len(scene.victim.events())
        async with stranger_on(scene.address(), scene.objective.id) as stranger:
            await attack(stranger)
            event = await scene.event(lambda e, said=said: said in str(e), since)  # type: ignore[misc]
            scene.row(case, event, event is not None)


async def play_replay(scene: Scene) -> None:
    """The same record again after the victim has been restarted and remembers no message ids."""
    async with stranger_on(scene.address(), scene.objective.id) as stranger:
        wire = record_of(stranger, "said twice").wire()
        identity = stranger.identity
        await say(stranger, wire)
        while not any(r["body"].get("title") == "said twice" for r in scene.victim.records()):
            await trio.sleep(0.2)
    scene.victim.end()
    scene.victim.start("--objective", str(scene.objective.root), "--no-research")
    since = len(scene.victim.events())
    async with stranger_on(scene.address(), scene.objective.id) as stranger:
        stranger.identity = identity
        await say(stranger, wire)
        event = await scene.event(lambda e: "said again" in str(e), since)
        scene.row("a replayed record", event, event is not None)


@asynccontextmanager
async def well_spoken_peer(scene: Scene, folder: Path) -> AsyncIterator[Callable[[str, str], None]]:
    """A peer that breaks no rule of the protocol. Yields a function that claims a source is a great discovery."""
    identity = Identity.from_seed(os.urandom(32))
    ledger = Ledger.open(folder / "hostile.sqlite", scene.objective.id)
    try:
        parent = ledger.put_blob(scene.objective.source.encode())

        def claim(title: str, source: str) -> None:
            child = ledger.put_blob(source.encode())
            body = experiment(title, parent, child, effect=CLAIM, holdout=CLAIM)
            ledger.append_own(identity, body, time.time_ns() // 1_000_000)

        settings = Settings(["/ip4/127.0.0.1/tcp/0"], [scene.address()])
        async with open_network(identity, ledger, settings, lambda *_, **__: None) as network:
            while not network.peers():
                await trio.sleep(0.1)
            yield claim
    finally:
        ledger.close()


async def play_sources(scene: Scene, folder: Path) -> None:
    key, port = str(scene.victim.home / "identity.key"), int(scene.address().split("/")[4])
    async with well_spoken_peer(scene, folder) as claim:
        for hostile in hostile_sources(scene.objective.source, key, port):
            since = len(scene.victim.events())
            claim(hostile.name, hostile.source)

            def about(event: dict[str, Any], name: str = hostile.name) -> bool:
                judged = ("claim contradicted", "not adopted", "adopted")
                return event.get("title") == name and event.get("event") in judged

            event = await scene.event(about, since)
            fits = event is not None and re.search(hostile.expected, str(event)) is not None
            scene.row(hostile.name, event, fits)
        since = len(scene.victim.events())
        claim("an honest discovery", apply(scene.objective.source, [SetConstant("INIT_STD", "0.05")]))
        event = await scene.event(lambda e: e.get("event") in ("adopted", "not adopted"), since)
        good = event is not None and event["event"] == "adopted"
        scene.good &= good
        line = render_line(event, False)[10:] if event else "NO LINE"
        print(f"{'ok ' if good else 'BAD'} {'an honest discovery':42} {line}")


def objective_for_this(folder: Path, tokens: int) -> Objective:
    root = small_objective(folder, tokens)
    settings = root / "objective.toml"
    text, changed = re.subn(r"(?m)^wall_seconds = \d+", f"wall_seconds = {RUN_LIMIT_SECONDS}", settings.read_text())
    assert changed == 1, "objective.toml names its wall clock limit once"
    settings.write_text(text)
    return load_objective(root, root)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=32768)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hostile-peer-") as name:
        folder = Path(name)
        scene = Scene(NodeProcess(folder / "victim"), objective_for_this(folder, options.tokens))
        with ended_afterwards(scene.victim):
            scene.victim.start("--objective", str(scene.objective.root), "--no-research")
            scene.victim.wait_for("baseline", heard("baseline"), PATIENCE_SECONDS)
            trio.run(play_messages, scene)
            trio.run(play_replay, scene)
            trio.run(play_sources, scene, folder)
            seconds = scene.victim.end()
    print(f"the node ended on Ctrl-C within {seconds:.1f} s")
    print("nothing got through" if scene.good else "SOMETHING GOT THROUGH, OR NO LINE TOLD OF IT")
    return 0 if scene.good else 1


if __name__ == "__main__":
    sys.exit(main())
