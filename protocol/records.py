"""Records: the signed statements that nodes keep. Signed once, and kept for ever as the bytes that were signed.

A record on the wire is msgpack [payload, signature]; the payload is a canonical msgpack map. `open_record` is the only
entry for records from outside: what it returns has the right shape, types, ranges and signature, and no code behind it
checks again. Fields that this version does not know are kept in the payload and ignored, and kinds it does not know
become `Unknown`.

It does not know feeds (whether a record follows its predecessor) nor whether what a record claims is true.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from protocol.codec import RECORD_LIMITS, MalformedError, decode, encode
from protocol.fields import (
    ID_BYTES,
    Category,
    ClassName,
    Device,
    Id,
    Kind,
    Platform,
    Proposer,
    Reason,
    Row,
    Sandbox,
    ScaleName,
    Statement,
    Title,
    Whole,
    read,
)
from protocol.fields import is_plain as is_plain
from protocol.identity import Identity, peer_id_of, verify
from protocol.metric import LOSS, MOST_VALUE, Metric
from protocol.seeds import proven_transfer_value, proven_value
from protocol.vrf import PROOF_BYTES

VERSION = 1
DOMAIN = b"autoresearch/record/1\0"
MAX_RECORD_BYTES = RECORD_LIMITS.max_bytes
SIGNATURE_BYTES = 64
MAX_PAIRS = 16
MAX_CHECKPOINTS = 16
MAX_CHAIN = 32
MAX_DESIGN = 256  # runs of one design


class Failure(StrEnum):
    """Why a run has no value."""

    SYNTAX = "syntax"  # the source does not parse
    EXCEPTION = "exception"  # it raised, or ended without a result
    DIVERGED = "diverged"  # its loss is not finite
    MEMORY = "memory"  # it took more than it may
    TIMEOUT = "timeout"
    OUTPUT = "output"  # it printed or handed out more than it may
    KILLED = "killed"
    INVALID = "invalid"  # the judge refused what it made


class Decision(StrEnum):
    """The result of a trial of an own hypothesis."""

    IMPROVED = "improved"
    NO_GAIN = "no_gain"
    UNCLEAR = "unclear"
    FAILED = "failed"


class ReplicationDecision(StrEnum):
    """The result of re-running another author's claim."""

    SUPPORTS = "supports"
    CONTRADICTS = "contradicts"
    UNCLEAR = "unclear"
    FAILED = "failed"


class TransferDecision(StrEnum):
    """The result of running a claim at another scale."""

    CARRIES_OVER = "carries_over"  # a gain there, too
    LOST = "lost"  # no gain there
    UNCLEAR = "unclear"
    FAILED = "failed"  # the child does not run there


class Route(StrEnum):
    """How a claim was adopted."""

    NONE = ""  # it was not
    CHILD = "child"  # its source was made from the adopter's best, and taken as it is
    MERGE = "merge"  # both lineages in one source
    WHOLE = "whole"  # its source replaced one of another lineage


Value = Annotated[float, Meta(ge=-MOST_VALUE, le=MOST_VALUE)]
Checkpoint = tuple[Whole, Value]
LEAST_LOSS, MOST_LOSS = 1e-9, 1e9  # where a record names no metric
Proof = Annotated[bytes, Meta(min_length=PROOF_BYTES, max_length=PROOF_BYTES)]
MOST_COST_RATIO = 1e6
CostRatio = Annotated[float, Meta(ge=1 / MOST_COST_RATIO, le=MOST_COST_RATIO)]


class Run(Row, frozen=True):
    """One training as its author saw it. `value` is the metric on validation windows, None iff it failed."""

    value: Value | None
    cpu_seconds: Annotated[float, Meta(ge=0.0, le=1e9)]
    tokens: Whole
    checkpoints: Annotated[tuple[Checkpoint, ...], Meta(max_length=MAX_CHECKPOINTS)]
    failure: Failure | None

    def __post_init__(self) -> None:
        if (self.value is None) != (self.failure is not None):
            raise MalformedError("a run has either a value or a failure")


class Pair(Row, frozen=True):
    """Parent and child trained with the same seed."""

    seed: Whole
    parent: Run
    child: Run


Pairs = Annotated[tuple[Pair, ...], Meta(max_length=MAX_PAIRS)]
# Seeds of the pairs, a screening among them, whose two runs took turns on the same processors: only their CPU times can
# be compared, and only they have a part in the effect that is owed to cost. Unset in records of earlier versions, which
# compared runs that followed one another.
Alternated = Annotated[tuple[Whole, ...], Meta(max_length=MAX_PAIRS + 1)] | msgspec.UnsetType
# How values compare. Unset where the metric is a loss whose runs repeat, as all were in the first version.
ItsMetric = Metric | msgspec.UnsetType


def metric_of(body: Experiment | Replication | Audit | Transfer) -> Metric:
    """How the values in a record compare."""
    return LOSS if isinstance(body.metric, msgspec.UnsetType) else body.metric


def _check_values(metric: ItsMetric, pairs: Iterable[Pair]) -> None:
    """Raises MalformedError for a value that the metric cannot have."""
    for pair in pairs:
        for run in (pair.parent, pair.child):
            values = [value for _, value in run.checkpoints] + ([] if run.value is None else [run.value])
            if isinstance(metric, msgspec.UnsetType):
                fits = run.value is None or LEAST_LOSS <= run.value <= MOST_LOSS
                fits = fits and all(abs(value) <= MOST_LOSS for value in values)
            else:
                fits = run.value is None or metric.fits(run.value)
            if not fits:
                raise MalformedError("a run's value is out of the metric's range")


class Effect(Row, frozen=True):
    """J = difference of the metric + slope · ln(cost ratio): mean over n pairs and standard error. Negative is better.

    The difference (`metric.Metric.difference`) is child against parent and so is the cost ratio: for a loss, J = −0.02
    is a child about 2 % better. What people see as a gain has the opposite sign (`metric.Metric.gain`).
    """

    mean: Annotated[float, Meta(ge=-100.0, le=100.0)]
    se: Annotated[float, Meta(ge=0.0, le=100.0)]
    n: Annotated[int, Meta(ge=1, le=MAX_PAIRS)]


class ChainStep(Row, frozen=True):
    """One step of a chain that was verified as a whole: the record that made it, and the part of J that it is given."""

    record: Id
    category: Category
    mean: Annotated[float, Meta(ge=-100.0, le=100.0)]


Chain = Annotated[tuple[ChainStep, ...], Meta(min_length=1, max_length=MAX_CHAIN)] | msgspec.UnsetType


class Origin(Row, frozen=True):
    """Where an idea comes from: an experiment of another objective, in which the author of this one believes."""

    objective: Id
    record: Id


class Experiment(Statement, frozen=True, rename={"compute_class": "class", "cost_ratio": "cost"}):
    """A trial of the author's own hypothesis, good or bad; or, with steps, of a chain of them against its beginning.

    bet: nothing is claimed, but the author's search went on from the child. steps: what led from the parent to the
    child. Where the decision on a chain is "no_gain" or "failed", its author went back to the parent. ended_at: the
    share of its budget at which the child's only run was ended, since it was plainly losing. design: the runs of
    several edits together by which the effect was estimated, instead of pairs. origin: of an idea that was confirmed in
    another objective.
    """

    title: Title
    category: Category
    reason: Reason
    proposer: Proposer
    parent: Id
    child: Id
    fingerprint: Id
    compute_class: ClassName
    device: Device
    sandbox: Sandbox
    decision: Decision
    effect: Effect | None
    holdout: Effect | None
    cost_ratio: CostRatio | None
    screening: Pair | None
    pairs: Pairs
    alternated: Alternated = msgspec.UNSET
    metric: ItsMetric = msgspec.UNSET
    bet: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    steps: Chain = msgspec.UNSET
    ended_at: Annotated[float, Meta(ge=0.0, le=1.0)] | msgspec.UnsetType = msgspec.UNSET
    design: Annotated[int, Meta(ge=2, le=MAX_DESIGN)] | msgspec.UnsetType = msgspec.UNSET
    origin: Origin | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_values(self.metric, (*self.pairs, *((self.screening,) if self.screening else ())))
        if self.decision == Decision.IMPROVED and (self.effect is None or not self.pairs):
            raise MalformedError("a claimed improvement shows its effect and its pairs")
        if self.is_bet and (self.decision != Decision.UNCLEAR or self.effect is None or self.chain):
            raise MalformedError("a bet is unclear, shows its effect, and is no chain")
        if self.ended_at is not msgspec.UNSET and (self.decision != Decision.NO_GAIN or self.pairs):
            raise MalformedError("a run that was ended early shows no gain, and no pairs")
        if self.design is not msgspec.UNSET and (self.pairs or self.screening or self.decision == Decision.IMPROVED):
            raise MalformedError("what a design estimates has no pairs, and claims nothing")

    @property
    def is_bet(self) -> bool:
        """Whether the author's search went on from the child, without a claim."""
        return self.bet is True

    @property
    def chain(self) -> tuple[ChainStep, ...]:
        """The steps from the parent to the child; () where this is a trial of one idea."""
        return () if isinstance(self.steps, msgspec.UnsetType) else self.steps


class Replication(Statement, frozen=True, rename={"compute_class": "class", "cost_ratio": "cost"}):
    """A trial of another author's claim on this author's hardware, and what this author adopted, if anything.

    `adopted` is the source that became the author's best by it; `adoption` its effect against the best before, which
    is `base`. `platform` names what two machines must share for their runs to end in the same numbers. `proof` shows
    that a report's seeds are its author's (`seeds`).
    """

    discovery: Id
    parent: Id
    child: Id
    compute_class: ClassName
    device: Device
    sandbox: Sandbox
    decision: ReplicationDecision
    effect: Effect | None
    cost_ratio: CostRatio | None
    pairs: Pairs
    adopted: Id | None
    route: Route
    adoption: Effect | None
    base: Id | None = None  # records of the first version have neither this nor a platform
    platform: Platform = ""
    proof: Proof | msgspec.UnsetType = msgspec.UNSET  # left out where there are no pairs, and in older records
    alternated: Alternated = msgspec.UNSET
    metric: ItsMetric = msgspec.UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_values(self.metric, self.pairs)
        if (self.adopted is None) != (self.route == Route.NONE):
            raise MalformedError("an adoption names both its source and its route")


class Audit(Statement, frozen=True, rename={"compute_class": "class"}):
    """One pair of another author's replication of a discovery, run again with its seed on this author's hardware.

    It does not say whether the pairs agree: every node compares them itself.
    """

    discovery: Id
    report: Id
    compute_class: ClassName
    device: Device
    platform: Platform
    sandbox: Sandbox
    pair: Pair
    alternated: Alternated = msgspec.UNSET
    metric: ItsMetric = msgspec.UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_values(self.metric, (self.pair,))


class Transfer(Statement, frozen=True, rename={"compute_class": "class", "cost_ratio": "cost"}):
    """A discovery run at another scale of the objective, on this author's hardware: does its gain carry over?

    It tells of that scale only, and says nothing of whether the claim is true. `proof` shows that the seeds of the
    pairs are its author's (`seeds`).
    """

    discovery: Id
    parent: Id
    child: Id
    scale: ScaleName
    compute_class: ClassName
    device: Device
    platform: Platform
    sandbox: Sandbox
    decision: TransferDecision
    effect: Effect | None
    cost_ratio: CostRatio | None
    pairs: Pairs
    alternated: Alternated = msgspec.UNSET
    proof: Proof | msgspec.UnsetType = msgspec.UNSET  # left out where there are no pairs
    metric: ItsMetric = msgspec.UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_values(self.metric, self.pairs)
        if self.decision in (TransferDecision.CARRIES_OVER, TransferDecision.LOST) and self.effect is None:
            raise MalformedError("a transfer that was measured shows its effect")
        if self.effect is not None and not self.pairs:
            raise MalformedError("a transfer shows the pairs of its effect")


class Hypothesis(Statement, frozen=True):
    """An idea that any node may run. `edit` is the id of a source that carries it out on the source `base`."""

    title: Title
    category: Category
    reason: Reason
    edit: Id | None
    base: Id | None


@dataclass(frozen=True)
class Unknown:
    """A kind this version does not know: kept, relayed and ignored."""

    kind: str
    body: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash(self.kind)


Body = Experiment | Replication | Audit | Transfer | Hypothesis | Unknown


@dataclass(frozen=True)
class Record:
    """A signed statement in its author's feed. `time` is as the author states it, in milliseconds since 1970."""

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
        return _kind_of(self.body)

    @cached_property
    def proven_value(self) -> bytes | None:
        """What a replication's or transfer's proof proves, from which its seeds follow; None where none holds.

        Worked out when it is first asked for, since it takes longer than to verify a signature.
        """
        body = self.body
        if not isinstance(body, Replication | Transfer) or isinstance(body.proof, msgspec.UnsetType):
            return None
        about = (self.author, body.proof, self.objective, body.discovery, body.parent, body.child)
        return proven_transfer_value(*about, body.scale) if isinstance(body, Transfer) else proven_value(*about)

    def wire(self) -> bytes:
        """What travels and is stored: msgpack [payload, signature]."""
        return encode([self.payload, self.signature])


# ---- making -------------------------------------------------------------------------------------------------------


def sign_record(identity: Identity, objective: bytes, seq: int, prev: bytes, time: int, body: Body) -> Record:
    """Make a record. Raises MalformedError when the body breaks a limit: a peer would refuse it."""
    packed = msgspec.Raw(encode(dict(body.body) if isinstance(body, Unknown) else body))
    payload = encode(_Payload(VERSION, _kind_of(body), identity.author, objective, seq, prev, time, packed))
    return open_record(encode([payload, identity.sign(DOMAIN, payload)]))


def _kind_of(body: Body) -> str:
    return body.kind if isinstance(body, Unknown) else type(body).__name__.lower()


# ---- opening ------------------------------------------------------------------------------------------------------


class _Envelope(Row, frozen=True):
    payload: bytes
    signature: Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


class _Payload(Statement, frozen=True):
    v: Annotated[int, Meta(ge=VERSION)]
    kind: Kind
    author: Id
    objective: Id
    seq: Whole
    prev: Id
    time: Whole
    body: msgspec.Raw

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.v != VERSION:
            raise MalformedError("a record of another protocol version")
        if (self.seq == 0) != (self.prev == bytes(ID_BYTES)):
            raise MalformedError("only a feed's first record has no predecessor")


_ENVELOPE = msgspec.msgpack.Decoder(_Envelope)
_PAYLOAD = msgspec.msgpack.Decoder(_Payload)
_BODIES: dict[str, msgspec.msgpack.Decoder[Any]] = {
    "experiment": msgspec.msgpack.Decoder(Experiment),
    "replication": msgspec.msgpack.Decoder(Replication),
    "audit": msgspec.msgpack.Decoder(Audit),
    "transfer": msgspec.msgpack.Decoder(Transfer),
    "hypothesis": msgspec.msgpack.Decoder(Hypothesis),
}
_UNKNOWN: msgspec.msgpack.Decoder[Mapping[str, Any]] = msgspec.msgpack.Decoder(dict[str, Any])


def open_record(wire: bytes) -> Record:
    """Decode and verify a record from outside. Raises MalformedError whatever is wrong with it."""
    decode(wire, RECORD_LIMITS)
    envelope = read(_ENVELOPE, wire, "record")
    payload = envelope.payload
    if encode(decode(payload, RECORD_LIMITS)) != payload:
        raise MalformedError("a record's payload is not in canonical form")
    record = _open(envelope)
    if not verify(record.author, DOMAIN, payload, envelope.signature):
        raise MalformedError("a record's signature does not hold")
    return record


def reopen_record(wire: bytes, record_id: bytes) -> Record:
    """Decode a record that `open_record` verified before it was stored, without verifying its signature again.

    Raises MalformedError when the payload is not the one with this id.
    """
    decode(wire, RECORD_LIMITS)
    envelope = read(_ENVELOPE, wire, "record")
    if hashlib.sha256(envelope.payload).digest() != record_id:
        raise MalformedError("a record is not what was kept")
    return _open(envelope)


def _open(envelope: _Envelope) -> Record:
    fields = read(_PAYLOAD, envelope.payload, "record")
    return Record(
        author=fields.author,
        objective=fields.objective,
        seq=fields.seq,
        prev=fields.prev,
        time=fields.time,
        body=_open_body(fields.kind, fields.body),
        payload=envelope.payload,
        signature=envelope.signature,
    )


def _open_body(kind: str, packed: msgspec.Raw) -> Body:
    if kind in _BODIES:
        known: Body = read(_BODIES[kind], packed, kind)
        return known
    return Unknown(kind, read(_UNKNOWN, packed, "record"))


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
