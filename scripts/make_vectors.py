"""Make protocol/vectors: bytes that another client can test itself against.

    .venv/bin/python scripts/make_vectors.py

Deterministic: the same files every time, from keys whose seeds are the sha256 of a name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import structs

from protocol.audits import REPORT_PAIRS
from protocol.codec import encode
from protocol.digests import ALL, Digest, FeedTree
from protocol.draw import pair_seed
from protocol.feed import FeedHead, forked_feed
from protocol.identity import Identity
from protocol.messages import (
    BlobChunk,
    BlobMissing,
    BlobOutline,
    BlobRequest,
    Done,
    Forks,
    GossipBatch,
    GossipRecord,
    Lease,
    OutlineRequest,
    Presence,
    Records,
    Vector,
    encode_gossip,
    encode_message,
    topic,
)
from protocol.metric import LOSS, Direction, Metric, Scale
from protocol.objective import FileEntry, Invite, Manifest, encode_invite, encode_manifest, objective_id
from protocol.outline import PIECE_BYTES, outline_of
from protocol.records import (
    DOMAIN,
    Audit,
    Body,
    ChainStep,
    Effect,
    Experiment,
    Hypothesis,
    Origin,
    Pair,
    Record,
    Replication,
    Run,
    Transfer,
    Unknown,
    body_to_json,
    sign_record,
)
from protocol.seeds import report_proof, seeds_in, seeds_of, transfer_proof

FOLDER = Path(__file__).resolve().parent.parent / "protocol" / "vectors"
TIME = 1_700_000_000_000


def name_id(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


ALICE, BOB, CAROL = (Identity.from_seed(name_id(name)) for name in ("alice", "bob", "carol"))
OBJECTIVE = name_id("an objective")
LARGE = bytes(range(256)) * 6000  # content of two pieces


def _pair(seed: int, parent: float, child: float) -> Pair:
    points = ((20, 5.5), (50, 4.75), (100, 4.25))
    return Pair(seed, Run(parent, 9.5, 524288, points, None), Run(child, 9.25, 524288, points, None))


def feed() -> list[Record]:
    """Alice's records, Bob's replication of the first, and Carol's audit of that."""
    experiment = Experiment(
        title="Kaiming initialisation",
        category="initialisation",
        reason="The baseline's weights are too large – by far.",
        proposer="catalogue",
        parent=name_id("baseline"),
        child=name_id("child"),
        fingerprint=name_id("fingerprint"),
        compute_class="cpu",
        sandbox="bwrap",
        device="a processor",
        decision="improved",
        effect=Effect(-0.238, 0.007, 2),
        holdout=Effect(-0.2375, 0.0075, 2),
        cost_ratio=0.974,
        screening=_pair(11, 3.5, 2.75),
        pairs=(_pair(12, 3.5625, 2.8125), _pair(13, 3.5, 2.78125)),
    )
    records = [sign_record(ALICE, OBJECTIVE, 0, bytes(32), TIME, experiment)]
    salt = records[0].id + BOB.author  # this report is one of the first versions: anybody can work out its seeds
    seeds = [pair_seed(experiment.parent, experiment.child, number, salt) for number in (1, 2)]
    found = (_pair(seeds[0], 3.5, 2.78125), _pair(seeds[1], 3.5625, 2.8125))
    replication = Replication(
        discovery=records[0].id,
        parent=experiment.parent,
        child=experiment.child,
        compute_class="cpu",
        sandbox="bwrap",
        device="another processor",
        decision="supports",
        effect=Effect(-0.23313, 0.0071, 2),
        cost_ratio=None,
        pairs=found,
        adopted=experiment.child,
        route="child",
        adoption=Effect(-0.22, 0.01, 1),
        base=experiment.parent,
        platform="torch 2.13.0 avx2 x86_64",
    )
    report = sign_record(BOB, OBJECTIVE, 0, bytes(32), TIME + 9, replication)
    audit = Audit(
        discovery=records[0].id,
        report=report.id,
        compute_class="cpu",
        device="another processor",
        platform="torch 2.13.0 avx2 x86_64",
        sandbox="unshare",
        pair=found[1],
    )
    more: list[Body] = [
        Hypothesis("Try rotary positions", "positions", "Distances repeat.", None, name_id("baseline")),
        Unknown("kind-of-the-future", {"answer": 42, "nested": {"list": [1, 2.5, None, True, b"\x00\xff"]}}),
    ]
    for body in more:
        records.append(sign_record(ALICE, OBJECTIVE, len(records), records[-1].id, TIME + len(records), body))
    return [*records, report, sign_record(CAROL, OBJECTIVE, 0, bytes(32), TIME + 10, audit)]


def proven_report() -> Record:
    """Bob's report on Alice's first record, with the proof of its seeds."""
    claim, old = feed()[0], feed()[-2]
    assert isinstance(claim.body, Experiment)
    assert isinstance(old.body, Replication)
    proof = report_proof(BOB, OBJECTIVE, claim.id, claim.body.parent, claim.body.child)
    first, second = seeds_in(proof, REPORT_PAIRS)
    pairs = (_pair(first, 3.5, 2.78125), _pair(second, 3.5625, 2.8125))
    body = structs.replace(
        old.body, adopted=None, route="", adoption=None, base=None, pairs=pairs, proof=proof, alternated=(first,)
    )
    return sign_record(BOB, OBJECTIVE, 0, bytes(32), TIME + 9, body)


def proofs() -> Any:
    """A report whose seeds its proof shows, and what anybody works out on the way from the proof to the seeds."""
    report = proven_report()
    assert isinstance(report.body, Replication)
    assert report.proven_value is not None
    return {
        "claim": feed()[0].wire().hex(),
        "report": report.wire().hex(),
        "says": body_to_json(report),
        "value": report.proven_value.hex(),
        "seeds": seeds_of(report.proven_value, REPORT_PAIRS),
    }


def transfer() -> Record:
    """Bob's transfer of Alice's first record to a larger scale."""
    claim = feed()[0]
    assert isinstance(claim.body, Experiment)
    proof = transfer_proof(BOB, OBJECTIVE, claim.id, claim.body.parent, claim.body.child, "large")
    first, second = seeds_in(proof, REPORT_PAIRS)
    body = Transfer(
        discovery=claim.id,
        parent=claim.body.parent,
        child=claim.body.child,
        scale="large",
        compute_class="cpu",
        device="another processor",
        platform="torch 2.13.0 avx2 x86_64",
        sandbox="bwrap",
        decision="carries_over",
        effect=Effect(-0.1, 0.01, 2),
        cost_ratio=0.99,
        pairs=(_pair(first, 3.0, 2.75), _pair(second, 3.0625, 2.75)),
        alternated=(first, second),
        proof=proof,
    )
    return sign_record(BOB, OBJECTIVE, 0, bytes(32), TIME + 11, body)


def transfers() -> Any:
    """A discovery run at another scale, and the seeds that its proof shows."""
    record = transfer()
    assert record.proven_value is not None
    return {
        "wire": record.wire().hex(),
        "says": body_to_json(record),
        "value": record.proven_value.hex(),
        "seeds": seeds_of(record.proven_value, REPORT_PAIRS),
    }


def metrics() -> Any:
    """A claim on an accuracy, which is better when higher and whose runs do not repeat, and what values amount to."""
    accuracy = Metric(Direction.HIGHER, Scale.LINEAR, 2.5, 0.004)
    first = feed()[0].body
    assert isinstance(first, Experiment)
    pairs = (_pair(12, -0.125, 0.0), _pair(13, 0.25, 0.375))
    body = structs.replace(
        first, effect=Effect(-0.05, 0.002, 2), holdout=None, screening=None, pairs=pairs, metric=accuracy
    )
    record = sign_record(ALICE, OBJECTIVE, 0, bytes(32), TIME, body)
    kinds = [LOSS, Metric(Direction.HIGHER, Scale.LOG, 1.0, 0.01), accuracy]
    values = [(2.0, 1.5), (1.5, 2.0), (0.5, 0.5)]
    return {
        "wire": record.wire().hex(),
        "says": body_to_json(record),
        "differences": [
            {
                "metric": [kind.direction, kind.scale, kind.unit, kind.spread],
                "parent": parent,
                "child": child,
                "difference": kind.difference(parent, child),
                "gain": kind.gain(kind.difference(parent, child)),
            }
            for kind in kinds
            for parent, child in values
        ],
    }


def chains() -> Any:
    """A bet of Alice's, the claim of a chain of which it is the only step, and an idea whose run was ended early."""
    first = feed()[0].body
    assert isinstance(first, Experiment)
    nothing = structs.replace(
        first, decision="no_gain", effect=None, holdout=None, screening=None, pairs=(), cost_ratio=None
    )
    bodies: list[Experiment] = [
        structs.replace(first, decision="unclear", bet=True, holdout=None, pairs=(), effect=Effect(-0.24, 0.01, 1)),
        structs.replace(nothing, title="Larger batch", child=name_id("large"), decision="no_gain", ended_at=0.5),
    ]
    made: list[Record] = []
    for number in range(3):
        if number == 2:
            bodies.append(structs.replace(first, steps=(ChainStep(made[0].id, first.category, -0.238),)))
        previous = made[-1].id if made else bytes(32)
        made.append(sign_record(ALICE, OBJECTIVE, number, previous, TIME + number, bodies[number]))
    return {"records": [{"wire": record.wire().hex(), "says": body_to_json(record)} for record in made]}


def origins() -> Any:
    """An experiment of an idea that was confirmed in another objective."""
    first = feed()[0].body
    assert isinstance(first, Experiment)
    body = structs.replace(
        first, proposer="elsewhere", origin=Origin(name_id("another objective"), name_id("a record of it"))
    )
    record = sign_record(ALICE, OBJECTIVE, 0, bytes(32), TIME, body)
    return {"wire": record.wire().hex(), "says": body_to_json(record)}


def records() -> Any:
    return {
        "objective": OBJECTIVE.hex(),
        "domain": DOMAIN.hex(),
        "keys": [
            {"seed": key.seed.hex(), "author": key.author.hex(), "peer id": key.peer_id} for key in (ALICE, BOB, CAROL)
        ],
        "records": [
            {
                "kind": record.kind,
                "wire": record.wire().hex(),
                "payload": record.payload.hex(),
                "signature": record.signature.hex(),
                "id": record.id.hex(),
                "says": body_to_json(record),
            }
            for record in feed()
        ],
    }


def messages() -> Any:
    first = feed()[0]
    streams = [
        Vector(OBJECTIVE, (FeedHead(ALICE.author, 3, first.id), FeedHead(BOB.author, 1, name_id("head")))),
        Vector(OBJECTIVE, (forked_feed(ALICE.author),), tuple(Digest(n, name_id(f"{n}")[:16]) for n in range(16))),
        Records((first.wire(),)),
        Forks(((first.wire(), feed()[1].wire()),)),
        Done(),
        BlobRequest(name_id("blob"), 262144),
        BlobChunk(5, 0, b"hello"),
        BlobMissing(name_id("blob")),
        OutlineRequest(name_id("blob")),
        BlobOutline.of(hashlib.sha256(LARGE).digest(), outline_of((LARGE[:PIECE_BYTES], LARGE[PIECE_BYTES:]))),
    ]
    address = f"/ip4/192.0.2.1/tcp/4001/p2p/{ALICE.peer_id}"
    gossip = [
        GossipRecord(first.wire()),
        GossipBatch((first.wire(), feed()[1].wire())),
        Presence("cpu", 2, 4, (address,), best=name_id("child")),
        Presence("gpu", 0, 0, ()),
        Lease(name_id("baseline"), name_id("fingerprint"), 60),
        Lease(name_id("baseline"), name_id("fingerprint"), 60, "positions"),
    ]
    return {
        "topic": topic(OBJECTIVE),
        "gossip": [{"type": type(m).__name__, "bytes": encode_gossip(m).hex()} for m in gossip],
        "streams": [{"type": type(m).__name__, "bytes": encode_message(m).hex()} for m in streams],
        "outlined content": "the bytes 00 to ff, 6,000 times over",
    }


def digests() -> Any:
    """Sets of feeds, and the digests of some of their buckets."""
    sets = {"nothing": 0, "one feed": 1, "few feeds": 16, "one more": 17, "many feeds": 300}
    return [
        {
            "why": why,
            "feeds": [[feed.author.hex(), feed.length, feed.head.hex()] for feed in tree.within(ALL)],
            "digests": {
                bucket: [tree.digest(bucket).count, tree.digest(bucket).value.hex()] for bucket in (ALL, "0", "a", "a3")
            },
        }
        for why, tree in ((why, _tree(number)) for why, number in sets.items())
    ]


def _tree(number: int) -> FeedTree:
    tree = FeedTree()
    for n in range(number):
        tree.put(FeedHead(name_id(f"author {n}"), n + 1, name_id(f"head {n}")))
    return tree


def objectives() -> Any:
    manifest = Manifest(
        "an objective",
        (FileEntry("train.py", name_id("train.py"), 1000), FileEntry("ideas/a.toml", name_id("a"), 10)),
        (FileEntry("train.bin", name_id("train.bin"), 3_000_000),),
    )
    packed = encode_manifest(manifest)
    invite = Invite(objective_id(packed), (f"/ip4/192.0.2.1/tcp/4001/p2p/{ALICE.peer_id}",))
    return {
        "manifest": packed.hex(),
        "objective id": objective_id(packed).hex(),
        "invite": encode_invite(invite),
        "private invite": encode_invite(replace(invite, key=name_id("swarm key"))),
        "swarm key": name_id("swarm key").hex(),
        "addresses": list(invite.addresses),
    }


def invalid() -> Any:
    """Records that must be refused, with the reason."""
    good = feed()[0]

    audit = feed()[-1]

    def resigned(change: Callable[[dict[str, Any]], None], record: Record = good, signer: Identity = ALICE) -> str:
        from protocol.codec import RECORD_LIMITS, decode

        fields = decode(record.payload, RECORD_LIMITS)
        change(fields)
        payload = encode(fields)
        return encode([payload, signer.sign(DOMAIN, payload)]).hex()

    flipped = bytes([good.signature[0] ^ 1]) + good.signature[1:]
    cases = {
        "empty": "",
        "not msgpack": "c1",
        "no signature": encode([good.payload]).hex(),
        "signature of one flipped bit": encode([good.payload, flipped]).hex(),
        "signed in no domain": encode([good.payload, ALICE.sign(b"", good.payload)]).hex(),
        "signed by somebody else": encode([good.payload, BOB.sign(DOMAIN, good.payload)]).hex(),
        "bytes after the end": (good.wire() + b"\x00").hex(),
        "another version": resigned(lambda f: f.update(v=2)),
        "no objective": resigned(lambda f: f.pop("objective")),
        "a predecessor at the start": resigned(lambda f: f.update(prev=name_id("x"))),
        "no predecessor later on": resigned(lambda f: f.update(seq=1)),
        "a negative place": resigned(lambda f: f.update(seq=-1)),
        "a title of 121 characters": resigned(lambda f: f["body"].update(title="x" * 121)),
        "a control character in the title": resigned(lambda f: f["body"].update(title="a\x1b[31mb")),
        "a decision nobody knows": resigned(lambda f: f["body"].update(decision="great")),
        "an improvement without pairs": resigned(lambda f: f["body"].update(pairs=[])),
        "an improvement without effect": resigned(lambda f: f["body"].update(effect=None)),
        "a negative standard error": resigned(lambda f: f["body"].update(effect=[-0.1, -0.1, 2])),
        "17 pairs": resigned(lambda f: f["body"].update(pairs=f["body"]["pairs"][:1] * 17)),
        "a run with value and failure": resigned(lambda f: f["body"]["pairs"][0][1].__setitem__(4, "killed")),
        "an audit without its pair": resigned(lambda f: f["body"].update(pair=None), audit, CAROL),
        "an audit of no report": resigned(lambda f: f["body"].update(report=None), audit, CAROL),
        "a platform of 81 characters": resigned(lambda f: f["body"].update(platform="x" * 81), audit, CAROL),
        "a source id of 31 bytes": resigned(lambda f: f["body"].update(child=bytes(31))),
        "a loss below zero": resigned(lambda f: f["body"]["pairs"][0][1].__setitem__(0, -1.0)),
        "a value below zero on a logarithmic scale": resigned(
            lambda f: (
                f["body"].update(metric=["lower", "log", 1.0, 0.1]),
                f["body"]["pairs"][0][1].__setitem__(0, -1.0),
            )
        ),
        "a metric that is better sideways": resigned(lambda f: f["body"].update(metric=["sideways", "log", 1.0, 0.0])),
        "a metric whose unit is nothing": resigned(lambda f: f["body"].update(metric=["higher", "linear", 0.0, 0.0])),
        "a transfer without its effect": resigned(lambda f: f["body"].update(effect=None), transfer(), BOB),
        "a transfer's effect without pairs": resigned(lambda f: f["body"].update(pairs=[]), transfer(), BOB),
        "a transfer of a decision nobody knows": resigned(
            lambda f: f["body"].update(decision="supports"), transfer(), BOB
        ),
        "a scale of 41 characters": resigned(lambda f: f["body"].update(scale="x" * 41), transfer(), BOB),
        "a transfer to no scale": resigned(lambda f: f["body"].pop("scale"), transfer(), BOB),
        "an origin without its record": resigned(lambda f: f["body"].update(origin=[name_id("another")])),
        "a proof of 79 bytes": resigned(lambda f: f["body"].update(proof=bytes(79)), proven_report(), BOB),
    }
    return [{"why": why, "wire": wire} for why, wire in cases.items()]


def vectors() -> dict[str, Any]:
    """File name to content."""
    return {
        "records.json": records(),
        "proofs.json": proofs(),
        "metrics.json": metrics(),
        "chains.json": chains(),
        "origins.json": origins(),
        "transfers.json": transfers(),
        "messages.json": messages(),
        "digests.json": digests(),
        "objectives.json": objectives(),
        "invalid-records.json": invalid(),
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, content in vectors().items():
        (FOLDER / name).write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
