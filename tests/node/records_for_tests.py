"""Signed records made on purpose: authors, experiments and replications as the tests of the ledger need them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from protocol.audits import REPORT_PAIRS
from protocol.identity import Identity
from protocol.records import Audit, Body, Effect, Experiment, Pair, Record, Replication, Run, Transfer, sign_record
from protocol.seeds import report_proof, seeds_in, transfer_proof

OBJECTIVE = hashlib.sha256(b"objective").digest()
CLAIMED, FOUND = Effect(-0.2, 0.01, 2), Effect(-0.19, 0.01, 2)
NOBODY = Identity.from_seed(bytes(32))
BASELINE = hashlib.sha256(b"baseline").digest()


def source(name: str) -> bytes:
    """The id of a source with this content."""
    return hashlib.sha256(name.encode()).digest()


def run(value: float | None = 3.0) -> Run:
    return Run(value, 9.5, 524288, ((20, 5.0), (50, 4.5), (100, 4.0)), None if value is not None else "exception")


def experiment(
    title: str = "Smaller initialisation",
    parent: bytes = BASELINE,
    child: bytes | None = None,
    decision: str = "improved",
    effect: Effect | None = CLAIMED,
    holdout: Effect | None = None,
    category: str = "initialisation",
) -> Experiment:
    return Experiment(
        title=title,
        category=category,
        reason="The baseline's weights are far too large.",
        proposer="catalogue",
        parent=parent,
        child=child if child is not None else source(title),
        fingerprint=source("fingerprint of " + title),
        compute_class="cpu",
        sandbox="bwrap",
        device="a processor",
        decision=decision,
        effect=effect,
        holdout=holdout,
        cost_ratio=1.0,
        screening=Pair(1, run(3.5), run(2.8)),
        pairs=(Pair(2, run(3.5), run(2.8)),),
    )


def proof_of(of: Record, by: Identity) -> bytes:
    """The proof of the seeds of this author's report."""
    assert isinstance(of.body, Experiment)
    return report_proof(by, of.objective, of.id, of.body.parent, of.body.child)


def replication(
    of: Record,
    decision: str = "supports",
    effect: Effect | None = FOUND,
    adopted: bytes | None = None,
    by: Identity = NOBODY,
    compute_class: str = "cpu",
) -> Replication:
    """A report of two pairs that show this effect. by: the key it will be signed with, whose seeds it then has."""
    assert isinstance(of.body, Experiment)
    proof = proof_of(of, by)
    found = 3.5 * math.exp(effect.mean if effect else 0.0)
    return Replication(
        discovery=of.id,
        parent=of.body.parent,
        child=of.body.child,
        compute_class=compute_class,
        sandbox="bwrap",
        device="another processor",
        decision=decision,
        effect=effect,
        cost_ratio=1.0,
        pairs=tuple(Pair(seed, run(3.5), run(found)) for seed in seeds_in(proof, REPORT_PAIRS)),
        adopted=adopted,
        route="child" if adopted else "",
        adoption=effect if adopted else None,
        platform="torch on a processor",
        proof=proof,
    )


def transfer(of: Record, effect: Effect, scale: str = "large", by: Identity = NOBODY) -> Transfer:
    """Two pairs at another scale that show this effect. by: the key it will be signed with, whose seeds it has."""
    assert isinstance(of.body, Experiment)
    proof = transfer_proof(by, of.objective, of.id, of.body.parent, of.body.child, scale)
    found = 3.0 * math.exp(effect.mean)
    return Transfer(
        discovery=of.id,
        parent=of.body.parent,
        child=of.body.child,
        scale=scale,
        compute_class="cpu",
        device="another processor",
        platform="torch on a processor",
        sandbox="bwrap",
        decision="carries_over" if -effect.mean > effect.se else "lost" if effect.mean >= 0 else "unclear",
        effect=effect,
        cost_ratio=1.0,
        pairs=tuple(Pair(seed, run(3.0), run(found)) for seed in seeds_in(proof, REPORT_PAIRS)),
        proof=proof,
    )


def audit(report: Record, agrees: bool = True, number: int = 0) -> Audit:
    """One pair of a report run again, with the same outcome or another."""
    assert isinstance(report.body, Replication)
    told = report.body.pairs[number]
    found = told if agrees else Pair(told.seed, told.parent, run(3.6))
    return Audit(
        discovery=report.body.discovery,
        report=report.id,
        compute_class=report.body.compute_class,
        device=report.body.device,
        platform=report.body.platform,
        sandbox="bwrap",
        pair=found,
    )


@dataclass
class Author:
    """Somebody with a key and a feed."""

    name: str
    records: list[Record] = field(default_factory=list)
    objective: bytes = field(default_factory=lambda: OBJECTIVE)  # as a test may have replaced it

    @property
    def key(self) -> bytes:
        return self.identity.author

    def report(self, of: Record, mean: float = -0.19, compute_class: str = "cpu") -> Record:
        """Replicate a claim with this result."""
        return self.write(replication(of, effect=Effect(mean, 0.003, 2), by=self.identity, compute_class=compute_class))

    @property
    def identity(self) -> Identity:
        return Identity.from_seed(hashlib.sha256(self.name.encode()).digest())

    def write(self, body: Body) -> Record:
        """Sign the next record of this author's feed."""
        prev = self.records[-1].id if self.records else bytes(32)
        record = sign_record(self.identity, self.objective, len(self.records), prev, 1_700_000_000_000, body)
        self.records.append(record)
        return record


def checked(root: Callable[[Body], object], *authors: Author, times: int = 4, compute_class: str = "cpu") -> None:
    """Have a node run so many reports of each of these authors again, on somebody else's claims, and find them right.

    root: signs what that node says. Four times give an author the weight 2/3.
    """
    other = Author("somebody else")
    for _ in range(times):
        claim = other.write(experiment(f"tried {len(other.records)}"))
        for author in authors:
            root(audit(author.report(claim, compute_class=compute_class)))


def reporters(
    claim: Record, root: Callable[[Body], object] | None, mean: float = -0.19, compute_class: str = "cpu"
) -> list[Record]:
    """What three peers wrote, who report on a claim and found each other's reports right.

    root: signs what a node says at which they are to be believed: it has checked each of them before, and runs one of
    these reports again. None at a node that knows none of them.
    """
    peers = [Author(name) for name in ("rex", "roy", "ron")]
    if root is not None:
        checked(root, *peers, compute_class=compute_class)
    reports = [peer.report(claim, mean, compute_class) for peer in peers]
    for number, peer in enumerate(peers):
        peer.write(audit(reports[number - 1]))
    if root is not None:
        root(audit(reports[0]))
    return [record for peer in peers for record in peer.records]


def refuters(claim: Record, root: Callable[[Body], object] | None, compute_class: str = "cpu") -> list[Record]:
    """The same with reports of harm."""
    return reporters(claim, root, 0.02, compute_class)


def published_seeds(records: Iterable[Record]) -> frozenset[int]:
    """The seeds of all pairs in these records, which anybody may know."""
    found: set[int] = set()
    for record in records:
        body = record.body
        if isinstance(body, Experiment | Replication):
            found |= {pair.seed for pair in body.pairs}
        if isinstance(body, Experiment) and body.screening is not None:
            found.add(body.screening.seed)
        if isinstance(body, Audit):
            found.add(body.pair.seed)
    return frozenset(found)
