"""Throw damaged bytes at every decoder, and at a running node's gossip, sync and blob streams, for minutes each.

    .venv/bin/python scripts/fuzz.py decoders|gossip|streams [--for-minutes 10] [--seed 1]

Damage is done to valid messages (the protocol's vectors): bits flipped, pieces cut, doubled or put elsewhere, lengths
made huge, and now and then plain noise. A decoder may answer only with a value or its own error, within a second of CPU
time. The node is a process of its own with one honest peer, under fresh attackers' keys; it must go on running, not
grow, and in the end still take the honest peer's record.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from plain_node import OBJECTIVE
from plain_swarm import PlainNode, equal, wait_for

from node.proposers.answer import AnswerError, decode_answer
from protocol.codec import MalformedError
from protocol.feed import open_fork
from protocol.messages import BLOB_PROTOCOL, SYNC_PROTOCOL, decode_gossip, decode_message
from protocol.objective import decode_invite, decode_manifest
from protocol.outline import open_outline
from protocol.records import open_record
from tests.node.network.stranger import stranger_on

VECTORS = Path(__file__).resolve().parent.parent / "protocol" / "vectors"
SLOW_SECONDS = 1.0
VISIT_MESSAGES = 40  # of one attacker, before another comes
MEMORY_GROWTH = 1.3
NOISE_SHARE = 0.05
SOURCE = "LR = 1e-3\n"
ANSWER = {
    "title": "A larger rate",
    "category": "optimizer",
    "reason": "It learns faster.",
    "edits": [{"search": "1e-3", "replace": "3e-3"}],
}
HUGE = [b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xf0", b"\xdf\x7f\xff\xff\xff"]  # msgpack lengths


def seeds() -> dict[str, list[bytes]]:
    """Valid bytes of every kind."""
    messages, objectives = (json.loads((VECTORS / f"{name}.json").read_text()) for name in ("messages", "objectives"))
    records = json.loads((VECTORS / "records.json").read_text())["records"]
    return {
        "gossip": [bytes.fromhex(case["bytes"]) for case in messages["gossip"]],
        "streams": [bytes.fromhex(case["bytes"]) for case in messages["streams"]],
        "record": [bytes.fromhex(case["wire"]) for case in records],
        "manifest": [bytes.fromhex(objectives["manifest"])],
        "invite": [objectives["invite"].encode(), objectives["private invite"].encode()],
        "fork": [bytes.fromhex(case["wire"]) for case in records],
        "outline": [hashlib.sha256(b"piece").digest() * count for count in range(4)],
        "model's answer": [
            json.dumps(ANSWER).encode(),
            b"Here it is:\n```json\n" + json.dumps(ANSWER).encode() + b"\n```",
        ],
    }


def damage(data: bytes, dice: random.Random) -> bytes:
    if dice.random() < NOISE_SHARE:
        return dice.randbytes(dice.randrange(2000))
    changed = bytearray(data)
    for _ in range(dice.randrange(1, 5)):
        at = dice.randrange(len(changed) + 1)
        piece = dice.randrange(1, 40)
        match dice.randrange(6):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << dice.randrange(8)
            case 1:
                del changed[at : at + piece]
            case 2:
                changed[at:at] = changed[at : at + piece]
            case 3:
                changed[at:at] = dice.choice(HUGE)
            case 4:
                changed[at:at] = b"\x91" * piece
            case _:
                changed[at : at + piece] = dice.randbytes(piece)
    return bytes(changed)


def decoders(minutes: float, dice: random.Random) -> bool:
    doors: dict[str, Callable[[bytes], object]] = {
        "gossip": decode_gossip,
        "streams": decode_message,
        "record": open_record,
        "manifest": decode_manifest,
        "invite": lambda data: decode_invite(data.decode("utf-8", "replace")),
        "fork": lambda data: open_fork(data, dice.choice(valid["record"])),
        "outline": lambda data: open_outline(data[:32], dice.choice([0, 1, len(data) << 13, 2**60]), data),
        "model's answer": lambda data: decode_answer(
            data.decode("utf-8", "replace"), SOURCE, "train.py", ["optimizer"]
        ),
    }
    valid, counts, bad = seeds(), Counter[str](), 0
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        name = dice.choice(list(doors))
        data, begun = damage(dice.choice(valid[name]), dice), time.process_time()
        try:
            doors[name](data)
            counts[f"{name}: taken"] += 1
        except (MalformedError, AnswerError):
            counts[f"{name}: refused"] += 1
        except Exception as error:
            bad += 1
            print(f"{name}: {type(error).__name__}: {error}: {data.hex()[:400]}")
        took = time.process_time() - begun
        if took > SLOW_SECONDS:
            bad += 1
            print(f"{name}: took {took:.1f} s: {data.hex()[:400]}")
    for name in sorted(counts):
        print(f"{name:20} {counts[name]:>10,}")
    return bad == 0


async def visit(address: str, kind: str, valid: list[bytes], dice: random.Random) -> int:
    """One attacker's stay; how much it could say before it was thrown out."""
    said = 0
    async with stranger_on(address, OBJECTIVE) as stranger:
        try:
            for _ in range(VISIT_MESSAGES):
                data = damage(dice.choice(valid), dice)
                if kind == "gossip" and dice.random() < 0.8:
                    await stranger.gossip(stranger.message(data))
                elif kind == "gossip":
                    await stranger.gossip_bytes(damage(stranger.message(data).SerializeToString(), dice))
                else:
                    stream = await stranger.open(dice.choice([SYNC_PROTOCOL, BLOB_PROTOCOL]))
                    await stranger.send(stream, data)
                    if dice.random() < 0.3:
                        await stream.write(dice.randbytes(dice.randrange(100)))
                said += 1
        except Exception:  # thrown out, in whatever way the library tells it
            return said
    return said


async def besiege(address: str, kind: str, seconds: float, dice: random.Random) -> tuple[int, int]:
    visits = messages = 0
    valid = seeds()["gossip" if kind == "gossip" else "streams"]
    with trio.move_on_after(seconds):
        while True:
            try:
                messages += await visit(address, kind, valid, dice)
            except BaseExceptionGroup as group:
                if group.split(trio.Cancelled)[0]:
                    raise
            except AssertionError:
                await trio.sleep(0.5)  # it would not let this one in
            visits += 1
    return visits, messages


def node_under_siege(kind: str, minutes: float, dice: random.Random) -> bool:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name, ExitStack() as stack:
        victim = PlainNode(Path(name) / "victim")
        stack.callback(victim.stop)
        victim.start()
        assert wait_for(lambda: victim.of("address"), 60), victim.complaints
        friend = PlainNode(Path(name) / "friend", ["--join", victim.of("address")])
        stack.callback(friend.stop)
        friend.start()
        friend.write(5)
        assert wait_for(lambda: equal([victim, friend], 5), 60), "the honest two did not even meet"
        trio.run(besiege, victim.of("address"), kind, 10.0, dice)
        before = victim.of("mib")
        visits, messages = trio.run(besiege, victim.of("address"), kind, 60 * minutes, dice)
        friend.write(5)
        took = wait_for(lambda: equal([victim, friend], 10), 90)
        after = victim.of("mib")
        print(f"{visits} attackers, {messages} damaged messages; memory {before:.0f} -> {after:.0f} MiB")
        print(f"running: {victim.running()}; the honest peer's records came after {took} s")
        return victim.running() and took is not None and after < before * MEMORY_GROWTH


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["decoders", "gossip", "streams"])
    parser.add_argument("--for-minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    attack = decoders if options.what == "decoders" else lambda m, d: node_under_siege(options.what, m, d)
    good = attack(options.for_minutes, dice)
    print("it held" if good else "IT DID NOT HOLD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
