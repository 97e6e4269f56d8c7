"""The swarm as a graph: authors, who re-ran or adopted whose finds, and the latest news of each kind.

Bounded whatever the ledger holds: of very many authors the most active are shown, and the rest is summed up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from node.ledger.projections.conclusions import tally
from node.ledger.projections.effects import gain_text
from node.platform.log import Json
from node.view.model.folds import Folds
from protocol.audits import has_report_form
from protocol.evidence import Verdict
from protocol.identity import peer_id_of
from protocol.records import Audit, Decision, Experiment, Hypothesis, Record, Replication, ReplicationDecision, Transfer

MOST_NODES = 200
MOST_EDGES = 800
MOST_NEWS = 60


@dataclass
class _Edge:
    """What one author did with the finds of another."""

    counts: Counter[str] = field(default_factory=Counter)

    @property
    def weight(self) -> int:
        counts = self.counts
        return counts["reports"] + counts["audits"] + counts["transfers"] + 2 * counts["adopted"]


def swarm_graph(folds: Folds, online: Container[str] = ()) -> Json:
    """Authors, edges and news. online: peer ids of the peers that this node is connected to now."""
    edges = _edges(folds)
    confirmed = Counter(
        one.record.author for one in folds.discoveries.values() if one.standing.verdict == Verdict.CONFIRMED
    )
    claims = Counter(one.record.author for one in folds.discoveries.values())
    nodes = _most_active(folds, online, claims, edges)
    shown = {author: peer_id_of(author) for author in nodes}
    drawn = sorted((pair for pair in edges if set(pair) <= shown.keys()), key=lambda pair: (-edges[pair].weight, pair))
    rest = [author for author in folds.feeds if author not in shown]
    return {
        "nodes": [_node(folds, author, claims[author], confirmed[author], shown[author] in online) for author in nodes],
        "edges": [_edge(shown, pair, edges[pair]) for pair in drawn[:MOST_EDGES]],
        "left_out": {
            "nodes": len(rest),
            "edges": len(edges) - min(len(drawn), MOST_EDGES),
            "discoveries": sum(claims[author] for author in rest),
            "records": sum(len(folds.feeds[author]) for author in rest),
        },
        "news": news(folds),
    }


def _most_active(
    folds: Folds, online: Container[str], claims: Mapping[bytes, int], edges: Mapping[tuple[bytes, bytes], _Edge]
) -> Sequence[bytes]:
    """The authors to show: this node, those that are connected, then those with most finds and work for others."""
    work: Counter[bytes] = Counter()
    for (author, _), edge in edges.items():
        work[author] += edge.weight

    def order(author: bytes) -> tuple[bool, bool, int, int, bytes]:
        active = -(10 * claims.get(author, 0) + work[author])
        return author != folds.me, peer_id_of(author) not in online, active, -len(folds.feeds[author]), author

    return sorted(folds.feeds, key=order)[:MOST_NODES]


def _edges(folds: Folds) -> dict[tuple[bytes, bytes], _Edge]:
    """By (who re-ran or adopted, whose it was); without those of whom only trials are known that say nothing."""
    edges: dict[tuple[bytes, bytes], _Edge] = {}
    for record in folds.records:
        about = _about(record, folds.by_id)
        if about is None or about.author == record.author:
            continue
        counts = edges.setdefault((record.author, about.author), _Edge()).counts
        if isinstance(record.body, Audit):
            counts["audits"] += 1
        elif isinstance(record.body, Replication):
            counts["reports"] += has_report_form(record)
            counts["adopted"] += record.body.adopted is not None
            counts[str(record.body.decision)] += has_report_form(record)
        else:
            counts["transfers"] += 1
    return {pair: edge for pair, edge in edges.items() if edge.weight}


def _about(record: Record, by_id: Mapping[bytes, Record]) -> Record | None:
    """The record whose author's work was looked at: a claim, or of an audit the report."""
    match record.body:
        case Replication(discovery=claim) | Transfer(discovery=claim):
            return by_id.get(claim)
        case Audit(report=report):
            return by_id.get(report)
    return None


def standing_here(folds: Folds, author: bytes, forked: Container[bytes] = ()) -> str:
    """On what the weight of an author rests at this node, in a word."""
    weights = folds.weights
    if author == folds.me:
        return "you"
    if author in forked:
        return "forked"
    if author in weights.caught:
        return "caught"
    if author in weights.checked:
        return "checked"
    return "vouched" if weights.counts(author) else "unknown"


def _node(folds: Folds, author: bytes, claims: int, confirmed: int, online: bool) -> Json:
    best, feed = folds.bests[author], folds.feeds[author]
    counts = tally(feed)
    last = feed[-1]
    return {
        "peer": peer_id_of(author),
        "you": author == folds.me,
        "compute_class": best.compute_class,
        "experiments": best.experiments,
        "discoveries": claims,
        "confirmed": confirmed,
        "reports": counts.replications,
        "adopted": counts.adoptions,
        "weight": round(folds.weights.of(author), 4),
        "standing": standing_here(folds, author),
        "online": online or author == folds.me,
        "gain_text": gain_text(best.effect, folds.measure) if best.effect is not None else None,
        "last": {"id": last.id.hex(), "kind": last.kind, "time": last.time, "title": title_of(last, folds.by_id)},
    }


def _edge(peers: Mapping[bytes, str], pair: tuple[bytes, bytes], edge: _Edge) -> Json:
    names = ("reports", "audits", "adopted", "transfers", ReplicationDecision.SUPPORTS, ReplicationDecision.CONTRADICTS)
    return {"from": peers[pair[0]], "to": peers[pair[1]], **{name: edge.counts[name] for name in names}}


def title_of(record: Record, by_id: Mapping[bytes, Record]) -> str:
    """What a record is about, by the title of the idea."""
    body = record.body
    if isinstance(body, Experiment | Hypothesis):
        return body.title
    claim = by_id.get(body.discovery) if isinstance(body, Replication | Audit | Transfer) else None
    return claim.body.title if claim is not None and isinstance(claim.body, Experiment) else ""


def news(folds: Folds) -> list[Json]:
    """The last arrivals that are worth telling, oldest first."""
    found: list[Json] = []
    for number in range(len(folds.records) - 1, -1, -1):
        record = folds.records[number]
        what = told(record)
        if what is None:
            continue
        about = _about(record, folds.by_id)
        origin = folds.ledger.origin(record.id)
        found.append(
            {
                "number": number,
                "id": record.id.hex(),
                "kind": record.kind,
                "by": peer_id_of(record.author),
                "to": peer_id_of(about.author) if about is not None else None,
                "via": None if origin == "own" else origin,
                "title": title_of(record, folds.by_id),
                "what": what,
                "time": record.time,
            }
        )
        if len(found) == MOST_NEWS:
            break
    return found[::-1]


def told(record: Record) -> str | None:
    """What a record tells, in a word; None for what is no news: own experiments that claim nothing."""
    match record.body:
        case Experiment(decision=Decision.IMPROVED):
            return "claimed"
        case Replication(adopted=adopted, decision=decision):
            return "adopted" if adopted is not None else str(decision)
        case Audit():
            return "audited"
        case Hypothesis():
            return "suggested"
        case Transfer(decision=decision):
            return str(decision)
    return None


def online_peers(running: Json | None) -> frozenset[str]:
    """The peer ids that a running node says it is connected to."""
    peers: Iterable[Json] = (running or {}).get("peers") or ()
    return frozenset(str(peer.get("peer")) for peer in peers if isinstance(peer, dict))
