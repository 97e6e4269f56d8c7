"""Trust: how far this node believes the claims of each author, and what it spends on strangers.

All of it orders what is tried first here, and decides nothing: adoption follows this node's own runs. How much the word
of an author counts as a reporter is in `protocol/weights.py`. Pure functions of records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from protocol.audits import repeats
from protocol.records import Audit, Experiment, Record, Replication, ReplicationDecision
from protocol.weights import Weights

WRONG_WEIGHS = 4  # one claim or report found wrong costs as much trust as four found right earn
# The chance that a claim tried here makes this node's best better, and of one that reports support or whose author this
# node has found right before. Lower than among honest nodes, where every second one did: a claim is its author's word.
# With .5 and .75 half of the claims that do nothing would be adopted.
CLAIM_HOLDS, SUPPORTED_HOLDS = 0.25, 0.5
STRANGERS_SHARE = 0.07  # of its runs that a node may spend in vain on authors it never found right; chance adds half
FIRST_STRANGERS = 12  # runs: before it has made many, three reports or a dozen local trials
LEAST_DISCOUNT = 0.25  # so that peers who say "tried, no better" cannot keep a claim from being tried here


def trust(records: Sequence[Record], me: bytes) -> dict[bytes, float]:
    """How far each author is trusted by this node, between 0 and 1; who is not named here has NEW_KEY.

    Only this node's own runs count. A claim was right when this node's report supports it or when it adopted what the
    claim led to, wrong when the report contradicts it; a report was right when this node's audit of it agrees.
    """
    by_id = {record.id: record for record in records}
    return trusted_by([record for record in records if record.author == me], by_id.get)


def trusted_by(own: Sequence[Record], held: Callable[[bytes], Record | None]) -> dict[bytes, float]:
    """The same by the records of one node, of which `own` are all. held: any record held, by its id."""
    right: set[tuple[bytes, bytes]] = set()  # authors, with the record of theirs that this node ran again
    wrong: set[tuple[bytes, bytes]] = set()
    me = own[0].author if own else b""
    for found, was_right in findings(own, held):
        if found.author != me:
            (right if was_right else wrong).add((found.author, found.id))
    trusted = {}
    for author in {author for author, _ in right | wrong}:
        # What was right once and wrong later counts as wrong only.
        rights = sum(by == author for by, _ in right - wrong)
        wrongs = sum(by == author for by, _ in wrong)
        trusted[author] = trust_of(rights, wrongs)
    return trusted


def findings(own: Iterable[Record], held: Callable[[bytes], Record | None]) -> Iterator[tuple[Record, bool]]:
    """The claims and reports that this node ran again, each with whether it was right, in the order of `own`.

    own: this node's records, or some of them. held: any record held, by its id.
    """
    for record in own:
        match record.body:
            case Replication(discovery=about, decision=ReplicationDecision.CONTRADICTS):
                found, was_right = held(about), False
            case Replication(discovery=about) as body if (
                body.decision == ReplicationDecision.SUPPORTS or body.adopted is not None
            ):
                found, was_right = held(about), True
            case Audit(report=about) as audit:
                found = held(about)
                same = repeats(found.body, audit) if found and isinstance(found.body, Replication) else None
                if same is None:
                    continue
                was_right = same
            case _:
                continue
        if found is not None:
            yield found, was_right


def trust_of(right: int, wrong: int) -> float:
    """Trust after so many findings: (1 + credit) / (4 + credit), credit = right − 4 · wrong; 1 / (4 − credit) below 0.

    A new key has 1/4, one that was right four times 5/8; one wrong then takes it back to 1/4, and a second to 1/8.
    """
    credit = right - WRONG_WEIGHS * wrong
    return (1 + credit) / (4 + credit) if credit >= 0 else 1 / (4 - credit)


NEW_KEY = trust_of(0, 0)


def adoption_discount(adopted: int, tried: int) -> float:
    """The factor on a claim's expected gain, from how often peers' trials of it ended in adoption.

    The share that adopted it, with one imagined adoption in two trials before any was made, over the 1/2 that is
    expected then: 1 with none known, 2/3 after one trial in vain, never under LEAST_DISCOUNT or above 1.
    """
    return max(LEAST_DISCOUNT, min(1.0, 2 * (1 + adopted) / (2 + tried)))


def author_discount(adopted: Sequence[bool]) -> float:
    """The factor on the expected gain of an author's claims, from how often this node's trials of them led to adoption.

    adopted: for each trial whether it led to an adoption. 1 with none made, 1/2 after one in vain, 1/3 after two.
    """
    return min(1.0, (1 + sum(adopted)) / (1 + len(adopted)))


def peers_of_class(records: Iterable[Record], compute_class: str, weights: Weights) -> frozenset[bytes]:
    """The authors who have signed a run of this compute class and whose word counts here."""
    return frozenset(
        record.author
        for record in records
        if weights.counts(record.author)
        and isinstance(record.body, Experiment | Replication | Audit)
        and record.body.compute_class == compute_class
    )


def may_run_for_strangers(feed: Sequence[Record], wasted: int) -> bool:
    """Whether this node may spend runs on what strangers say: authors that it has never found right.

    Keys are free, so strangers could take all of its time. feed: its own records. wasted: of the runs in them, those
    that were spent on strangers in vain. They may be STRANGERS_SHARE of all, and FIRST_STRANGERS before there are many.
    """
    return wasted < max(FIRST_STRANGERS, STRANGERS_SHARE * sum(runs_in(record) for record in feed))


def runs_in(record: Record) -> int:
    """How many runs a record of this node's own took: 2 a pair. A local trial shows none, and takes one or a few."""
    match record.body:
        case Experiment() as body:
            design = 0 if isinstance(body.design, msgspec.UnsetType) else body.design
            return design + (body.screening is not None) + 2 * len(body.pairs)
        case Replication() as body:
            return 2 * len(body.pairs) if body.pairs else 1
        case Audit():
            return 2
    return 0


def wasted_on_strangers(records: Sequence[Record], me: bytes, weights: Weights, trusted: Mapping[bytes, float]) -> int:
    """The runs that this node spent in vain on authors that it has never found right.

    trusted: as `trust` says. In vain is an audit that overturned a report, a local trial that led to no adoption, and a
    report that does not support its claim.
    """
    by_id = {record.id: record for record in records}
    wasted = 0
    for record in records:
        if record.author != me:
            continue
        match record.body:
            case Audit(report=about) if about in weights.overturned:
                vain = True
            case Replication(adopted=None, decision=decision) as body if decision != ReplicationDecision.SUPPORTS:
                about, vain = body.discovery, True
            case _:
                continue
        author = by_id[about].author if about in by_id else b""
        if vain and not weights.counts(author) and trusted.get(author, NEW_KEY) <= NEW_KEY:
            wasted += runs_in(record)
    return wasted
