"""Records: everything a node says that is worth remembering. Signed once, kept as the bytes that were signed, for ever.

A record on the wire is msgpack [payload, signature]; the payload is a canonical msgpack map. `open_record` is the
door: what it returns has the right shape, types, ranges and signature, and nothing inside checks again. Fields that
this version does not know are kept in the payload and ignored, and kinds it does not know become `Unknown`.

It does not know feeds (whether a record follows its predecessor) nor whether what a record claims is true.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from protocol.codec import RECORD_LIMITS, MalformedError, decode, decode_again, encode
from protocol.fields import (
    ID_BYTES,
    Fields,
    checked_binary,
    checked_integer,
    checked_number,
    checked_sequence,
)
from protocol.fields import is_plain as is_plain
from protocol.identity import Identity, peer_id_of, verify

VERSION = 1
DOMAIN = b"autoresearch/record/1\0"
MAX_RECORD_BYTES = RECORD_LIMITS.max_bytes
SIGNATURE_BYTES = 64
MAX_PAIRS = 16
MAX_CHECKPOINTS = 16
MAX_INTEGER = 2**53  # integers stay exact in every language's numbers

FAILURES = ("syntax", "exception", "diverged", "memory", "timeout", "output", "killed", "invalid")
EXPERIMENT_DECISIONS = ("improved", "no_gain", "unclear", "failed")
REPLICATION_DECISIONS = ("supports", "contradicts", "unclear", "failed")
ROUTES = ("", "child", "merge", "whole")


@dataclass(frozen=True)
class Run:
    """One training as its author saw it. `value` is the metric on validation windows, None iff it failed."""

    value: float | None
    cpu_seconds: float
    tokens: int
    checkpoints: tuple[tuple[int, float], ...]
    failure: str | None


@dataclass(frozen=True)
class Pair:
    """Parent and child trained with the same seed."""

    seed: int
    parent: Run
    child: Run


@dataclass(frozen=True)
class Effect:
    """J = Δ ln(metric) + slope · ln(cost ratio) over n pairs, with its standard error. Negative is better."""

    mean: float
    se: float
    n: int


@dataclass(frozen=True)
class Experiment:
    """A trial of the author's own hypothesis, good or bad."""

    title: str
    category: str
    reason: str
    proposer: str
    parent: bytes
    child: bytes
    fingerprint: bytes
    compute_class: str
    device: str
    sandbox: str
    decision: str
    effect: Effect | None
    holdout: Effect | None
    cost_ratio: float | None
    screening: Pair | None
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Replication:
    """A trial of somebody else's claim on the author's hardware, and what the author took over, if anything.

    `adopted` is the source that became the author's best by it; `adoption` its effect against the best before, which
    is `base`. `platform` names what two machines must share for their runs to end in the same numbers.
    """

    discovery: bytes
    parent: bytes
    child: bytes
    compute_class: str
    device: str
    sandbox: str
    decision: str
    effect: Effect | None
    cost_ratio: float | None
    pairs: tuple[Pair, ...]
    adopted: bytes | None
    route: str
    adoption: Effect | None
    base: bytes | None = None
    platform: str = ""


@dataclass(frozen=True)
class Audit:
    """One pair of somebody's replication of a discovery, run again with its seed on the author's hardware.

    Whether it agrees is not said: everybody compares the two pairs for himself.
    """

    discovery: bytes
    report: bytes
    compute_class: str
    device: str
    platform: str
    sandbox: str
    pair: Pair


@dataclass(frozen=True)
class Hypothesis:
    """An idea offered to whoever wants to run it. `edit` is the id of a source that carries it out on `base`."""

    title: str
    category: str
    reason: str
    edit: bytes | None
    base: bytes | None


@dataclass(frozen=True)
class Unknown:
    """A kind this version does not know: kept, relayed and ignored."""

    kind: str
    body: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash(self.kind)


Body = Experiment | Replication | Audit | Hypothesis | Unknown


@dataclass(frozen=True)
class Record:
    """A signed statement at a place in its author's feed. `time` is the author's word, in milliseconds since 1970."""

    author: bytes
    objective: bytes
    seq: int
    prev: bytes
    time: int
    body: Body
    payload: bytes
    signature: bytes

    @cached_property
    def id(self) -> bytes:
        """sha256 of the signed bytes."""
        return hashlib.sha256(self.payload).digest()

    @property
    def kind(self) -> str:
        match self.body:
            case Experiment():
                return "experiment"
            case Replication():
                return "replication"
            case Audit():
                return "audit"
            case Hypothesis():
                return "hypothesis"
            case Unknown(kind=kind):
                return kind

    def wire(self) -> bytes:
        """What travels and is stored: msgpack [payload, signature]."""
        return encode([self.payload, self.signature])


# ---- making -------------------------------------------------------------------------------------------------------


def sign_record(identity: Identity, objective: bytes, seq: int, prev: bytes, time: int, body: Body) -> Record:
    """Make a record. Raises MalformedError when the body breaks a limit, so that nobody else has to refuse it."""
    kind = body.kind if isinstance(body, Unknown) else type(body).__name__.lower()
    payload = encode(
        {
            "v": VERSION,
            "kind": kind,
            "author": identity.author,
            "objective": objective,
            "seq": seq,
            "prev": prev,
            "time": time,
            "body": _pack_body(body),
        }
    )
    return open_record(encode([payload, identity.sign(DOMAIN, payload)]))


def _pack_body(body: Body) -> dict[str, Any]:
    match body:
        case Experiment():
            return {
                "title": body.title,
                "category": body.category,
                "reason": body.reason,
                "proposer": body.proposer,
                "parent": body.parent,
                "child": body.child,
                "fingerprint": body.fingerprint,
                "class": body.compute_class,
                "device": body.device,
                "sandbox": body.sandbox,
                "decision": body.decision,
                "effect": _pack_effect(body.effect),
                "holdout": _pack_effect(body.holdout),
                "cost": body.cost_ratio,
                "screening": _pack_pair(body.screening) if body.screening else None,
                "pairs": [_pack_pair(pair) for pair in body.pairs],
            }
        case Replication():
            return {
                "discovery": body.discovery,
                "parent": body.parent,
                "child": body.child,
                "class": body.compute_class,
                "device": body.device,
                "sandbox": body.sandbox,
                "decision": body.decision,
                "effect": _pack_effect(body.effect),
                "cost": body.cost_ratio,
                "pairs": [_pack_pair(pair) for pair in body.pairs],
                "adopted": body.adopted,
                "route": body.route,
                "adoption": _pack_effect(body.adoption),
                "base": body.base,
                "platform": body.platform,
            }
        case Audit():
            return {
                "discovery": body.discovery,
                "report": body.report,
                "class": body.compute_class,
                "device": body.device,
                "platform": body.platform,
                "sandbox": body.sandbox,
                "pair": _pack_pair(body.pair),
            }
        case Hypothesis():
            return {
                "title": body.title,
                "category": body.category,
                "reason": body.reason,
                "edit": body.edit,
                "base": body.base,
            }
        case Unknown():
            return dict(body.body)


def _pack_effect(effect: Effect | None) -> list[Any] | None:
    return [effect.mean, effect.se, effect.n] if effect else None


def _pack_pair(pair: Pair) -> list[Any]:
    return [pair.seed, _pack_run(pair.parent), _pack_run(pair.child)]


def _pack_run(run: Run) -> list[Any]:
    return [run.value, run.cpu_seconds, run.tokens, [list(point) for point in run.checkpoints], run.failure]


# ---- opening ------------------------------------------------------------------------------------------------------


def open_record(wire: bytes) -> Record:
    """Decode and verify a record from outside. Raises MalformedError whatever is wrong with it."""
    return _open(wire, None)


def reopen_record(wire: bytes, record_id: bytes) -> Record:
    """Decode a record that passed the door before and was kept, without verifying its signature again.

    Raises MalformedError when what was signed is not what it was then.
    """
    return _open(wire, record_id)


def _open(wire: bytes, kept_as: bytes | None) -> Record:
    envelope = decode(wire, RECORD_LIMITS)
    if not isinstance(envelope, list) or len(envelope) != 2:
        raise MalformedError("a record is [payload, signature]")
    payload = checked_binary(envelope[0], "payload")
    signature = checked_binary(envelope[1], "signature", SIGNATURE_BYTES)
    if kept_as is not None and hashlib.sha256(payload).digest() != kept_as:
        raise MalformedError("a record is not what was kept")
    fields = Fields(decode(payload, RECORD_LIMITS) if kept_as is None else decode_again(payload), "record")
    if kept_as is None and encode(fields.values) != payload:
        raise MalformedError("a record's payload is not in canonical form")
    if fields.integer("v", VERSION, MAX_INTEGER) != VERSION:
        raise MalformedError("a record of another protocol version")
    author = fields.binary("author")
    if kept_as is None and not verify(author, DOMAIN, payload, signature):
        raise MalformedError("a record's signature does not hold")
    seq = fields.integer("seq", 0, MAX_INTEGER)
    prev = fields.binary("prev")
    if (seq == 0) != (prev == bytes(ID_BYTES)):
        raise MalformedError("only a feed's first record has no predecessor")
    return Record(
        author=author,
        objective=fields.binary("objective"),
        seq=seq,
        prev=prev,
        time=fields.integer("time", 0, MAX_INTEGER),
        body=_open_body(fields.text("kind"), fields.mapping("body")),
        payload=payload,
        signature=signature,
    )


def _open_body(kind: str, values: dict[str, Any]) -> Body:
    fields = Fields(values, kind)
    match kind:
        case "experiment":
            return _open_experiment(fields)
        case "replication":
            return _open_replication(fields)
        case "audit":
            return _open_audit(fields)
        case "hypothesis":
            return Hypothesis(
                title=fields.text("title"),
                category=fields.text("category"),
                reason=fields.text("reason"),
                edit=fields.optional_binary("edit"),
                base=fields.optional_binary("base"),
            )
        case _:
            return Unknown(kind, values)


def _open_experiment(fields: Fields) -> Experiment:
    experiment = Experiment(
        title=fields.text("title"),
        category=fields.text("category"),
        reason=fields.text("reason"),
        proposer=fields.text("proposer"),
        parent=fields.binary("parent"),
        child=fields.binary("child"),
        fingerprint=fields.binary("fingerprint"),
        compute_class=fields.text("class"),
        device=fields.text("device"),
        sandbox=fields.text("sandbox"),
        decision=fields.one_of("decision", EXPERIMENT_DECISIONS),
        effect=_effect(fields, "effect"),
        holdout=_effect(fields, "holdout"),
        cost_ratio=fields.ratio("cost"),
        screening=_pair(fields, "screening"),
        pairs=_pairs(fields, "pairs"),
    )
    if experiment.decision == "improved" and (experiment.effect is None or not experiment.pairs):
        raise MalformedError("a claimed improvement shows its effect and its pairs")
    return experiment


def _open_replication(fields: Fields) -> Replication:
    values = fields.values
    replication = Replication(
        discovery=fields.binary("discovery"),
        parent=fields.binary("parent"),
        child=fields.binary("child"),
        compute_class=fields.text("class"),
        device=fields.text("device"),
        sandbox=fields.text("sandbox"),
        decision=fields.one_of("decision", REPLICATION_DECISIONS),
        effect=_effect(fields, "effect"),
        cost_ratio=fields.ratio("cost"),
        pairs=_pairs(fields, "pairs"),
        adopted=fields.optional_binary("adopted"),
        route=fields.one_of("route", ROUTES),
        adoption=_effect(fields, "adoption"),
        base=fields.optional_binary("base") if "base" in values else None,  # neither was there at first
        platform=fields.text("platform") if "platform" in values else "",
    )
    if (replication.adopted is None) != (replication.route == ""):
        raise MalformedError("an adoption names both its source and its route")
    return replication


def _open_audit(fields: Fields) -> Audit:
    pair = _pair(fields, "pair")
    if pair is None:
        raise MalformedError("an audit shows the pair that was run again")
    return Audit(
        discovery=fields.binary("discovery"),
        report=fields.binary("report"),
        compute_class=fields.text("class"),
        device=fields.text("device"),
        platform=fields.text("platform"),
        sandbox=fields.text("sandbox"),
        pair=pair,
    )


def _effect(fields: Fields, name: str) -> Effect | None:
    value = fields.get(name)
    if value is None:
        return None
    mean, se, n = checked_sequence(value, f"{fields.what}: {name}", 3)
    return Effect(
        checked_number(mean, name, -100.0, 100.0),
        checked_number(se, name, 0.0, 100.0),
        checked_integer(n, name, 1, MAX_PAIRS),
    )


def _pair(fields: Fields, name: str) -> Pair | None:
    value = fields.get(name)
    return None if value is None else _open_pair(value, f"{fields.what}: {name}")


def _pairs(fields: Fields, name: str) -> tuple[Pair, ...]:
    value = fields.get(name)
    if not isinstance(value, list) or len(value) > MAX_PAIRS:
        raise fields.wrong(name, f"a list of at most {MAX_PAIRS} pairs")
    return tuple(_open_pair(item, f"{fields.what}: {name}") for item in value)


def _open_pair(value: Any, where: str) -> Pair:
    seed, parent, child = checked_sequence(value, where, 3)
    return Pair(checked_integer(seed, where, 0, MAX_INTEGER), _open_run(parent, where), _open_run(child, where))


def _open_run(value: Any, where: str) -> Run:
    metric, cpu, tokens, points, failure = checked_sequence(value, where, 5)
    if failure is not None and failure not in FAILURES:
        raise MalformedError(f"{where}: a failure nobody knows")
    if (metric is None) != (failure is not None):
        raise MalformedError(f"{where}: a run has either a value or a failure")
    if not isinstance(points, list) or len(points) > MAX_CHECKPOINTS:
        raise MalformedError(f"{where}: more than {MAX_CHECKPOINTS} checkpoints")
    checkpoints = []
    for point in points:
        step, score = checked_sequence(point, where, 2)
        checkpoints.append((checked_integer(step, where, 0, MAX_INTEGER), checked_number(score, where, -1e9, 1e9)))
    return Run(
        None if metric is None else checked_number(metric, where, 1e-9, 1e9),
        checked_number(cpu, where, 0.0, 1e9),
        checked_integer(tokens, where, 0, MAX_INTEGER),
        tuple(checkpoints),
        failure,
    )


# ---- showing ------------------------------------------------------------------------------------------------------


def body_to_json(record: Record) -> dict[str, Any]:
    """A record as JSON-ready data: ids in hexadecimal, the author as a peer id, the body field by field."""
    payload = decode(record.payload, RECORD_LIMITS)
    return {
        "id": record.id.hex(),
        "author": peer_id_of(record.author),
        "objective": record.objective.hex(),
        "seq": record.seq,
        "prev": record.prev.hex(),
        "time": record.time,
        "kind": record.kind,
        "body": _json(payload["body"]),
    }


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json(item) for item in value]
    return value
