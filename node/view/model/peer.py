"""One peer's record of truth: what it claims and what came of it, how its reports compare with this node's own runs.

Everything is of the records held; standings and weights are this node's own.
"""

from __future__ import annotations

from collections import Counter

from node.ledger.projections.conclusions import tally
from node.ledger.projections.effects import gain_text
from node.platform.log import Json
from node.review.trust import findings
from node.view.model.contribution import discovery_line
from node.view.model.folds import Folds
from node.view.model.rows import rows_of
from node.view.model.swarm import standing_here, title_of
from protocol.audits import has_report_form, repeats
from protocol.evidence import Verdict
from protocol.identity import peer_id_of
from protocol.records import Audit, Experiment, Record, Replication
from protocol.weights import weight_of

MOST_SHOWN = 50  # claims, and adoptions
MOST_LATEST = 20
MOST_VOUCHING = 10


def author_of(folds: Folds, start: str) -> bytes | None:
    """The one author whose peer id begins, or ends, like this; None where there is none or more than one.

    Peer ids begin alike, so people and the log name them by their ends.
    """
    ids = {author: peer_id_of(author) for author in folds.feeds}
    wanted = start.lstrip("…")
    exact = [author for author, peer in ids.items() if peer == wanted]
    found = exact or [author for author, peer in ids.items() if wanted and peer.endswith(wanted)]
    found = found or [author for author, peer in ids.items() if wanted and peer.startswith(wanted)]
    return found[0] if len(found) == 1 else None


def without_records(running: Json | None, start: str) -> Json | None:
    """What a running node says of the one connected peer whose id begins, or ends, like this; None where none is."""
    wanted = start.lstrip("…")
    rows = [row for row in (running or {}).get("peers") or () if isinstance(row, dict)]
    peers = {str(row.get("peer")): row for row in rows}
    found = [row for peer, row in peers.items() if wanted and (peer.endswith(wanted) or peer.startswith(wanted))]
    if len(found) != 1:
        return None
    about = {name: str(found[0].get(name) or "") for name in ("peer", "compute_class", "address")}
    return {**about, "you": False, "online": True, "records": 0}


def peer_page(folds: Folds, author: bytes, online: bool) -> Json:
    """All that a page on one author shows. online: whether this node is connected to it now."""
    feed = folds.feeds[author]
    best = folds.bests[author]
    counts = tally(feed)
    forked = folds.ledger.fork(author) is not None
    found = sorted(
        (one for one in folds.discoveries.values() if one.record.author == author), key=lambda one: -one.record.seq
    )
    standings = Counter(str(one.standing.verdict) for one in found)
    ratios = [one.claim.holdout.mean / one.claim.effect.mean for one in found if _has_ratio(one.claim)]  # type: ignore[union-attr]
    adopted = [r for r in reversed(feed) if isinstance(r.body, Replication) and r.body.adopted is not None]
    return {
        "peer": peer_id_of(author),
        "you": author == folds.me,
        "compute_class": best.compute_class,
        "online": online or author == folds.me,
        "records": len(feed),
        "first": min(record.time for record in feed),
        "last": max(record.time for record in feed),
        "forked": forked,
        "weight": round(folds.weights.of(author), 4),
        "standing": standing_here(folds, author, {author} if forked else ()),
        "because": because(folds, author, forked),
        "vouched_by": _vouched_by(folds, author),
        "gain_text": gain_text(best.effect, folds.measure) if best.effect is not None else None,
        "claims": {
            **{name: standings[name] for name in (Verdict.CONFIRMED, Verdict.OPEN, Verdict.REFUTED)},
            "total": len(found),
        },
        "holdout_ratio": sum(ratios) / len(ratios) if ratios else None,
        "reports": _reports(folds, author),
        "tried_here": _tried_here(folds, author),
        "experiments": counts.experiments,
        "kept": counts.kept,
        "audits": counts.audits,
        "transfers": counts.transfers,
        "suggestions": counts.suggestions,
        "found": [discovery_line(folds, one) for one in found[:MOST_SHOWN]],
        "found_more": max(0, len(found) - MOST_SHOWN),
        "adopted": [_adoption(folds, record) for record in adopted[:MOST_SHOWN]],
        "adopted_more": max(0, len(adopted) - MOST_SHOWN),
        "latest": rows_of(feed, folds.start)[-MOST_LATEST:][::-1],
        "of": len(folds.records),
    }


def _has_ratio(claim: Experiment) -> bool:
    return claim.holdout is not None and claim.effect is not None and bool(claim.effect.mean)


def because(folds: Folds, author: bytes, forked: bool) -> str:
    """Why an author's word weighs what it does at this node, in a sentence."""
    weights = folds.weights
    if author == folds.me:
        return "this is your own node: what it ran itself is what everything else is compared with"
    if forked:
        return "it signed two different histories, so nothing more of it is taken"
    if author in weights.caught:
        return "when this node last ran one of its reports again, the numbers were not what it had written"
    if author in weights.checked:
        count = weights.checked[author]
        reports = "1 of its reports" if count == 1 else f"{count} of its reports in a row"
        return f"this node ran {reports} again and found what it had written"
    if weights.counts(author):
        return "peers that this node has checked found its reports right"
    return "neither this node nor a peer that it has checked ran any of its reports again, so its word counts nothing"


def _vouched_by(folds: Folds, author: bytes) -> list[Json]:
    """The authors with a weight here that found this one's reports right, those of the greatest weight first."""
    if author == folds.me:
        return []
    found: dict[bytes, bool] = {}
    for record in folds.records:
        body = record.body
        if isinstance(body, Audit) and folds.weights.counts(record.author) and record.author != author:
            report = folds.by_id.get(body.report)
            if report is not None and report.author == author and isinstance(report.body, Replication):
                same = repeats(report.body, body)
                if same is not None:
                    found[record.author] = same
    right = sorted((other for other, same in found.items() if same), key=lambda other: -folds.weights.of(other))
    return [
        {"peer": peer_id_of(other), "weight": round(folds.weights.of(other), 4), "you": other == folds.me}
        for other in right[:MOST_VOUCHING]
    ]


def _reports(folds: Folds, author: bytes) -> Json:
    """How many reports an author made, and how those fared that were run again, here and by others."""
    made = {r.id: r for r in folds.feeds[author] if isinstance(r.body, Replication) and has_report_form(r)}
    here: dict[bytes, bool] = {}
    elsewhere: set[bytes] = set()
    for record in folds.records:
        body = record.body
        if not isinstance(body, Audit) or body.report not in made or record.author == author:
            continue
        report = made[body.report].body
        assert isinstance(report, Replication)
        same = repeats(report, body)
        if same is None:
            continue
        if record.author == folds.me:
            here[body.report] = here.get(body.report, True) and same
        else:
            elsewhere.add(body.report)
    return {
        "made": len(made),
        "audited_here": len(here),
        "agreed": sum(here.values()),
        "differed": len(here) - sum(here.values()),
        "audited_by_others": len(elsewhere),
        "in_a_row": folds.weights.checked.get(author, 0),
        "weight_by_checks": round(weight_of(folds.weights.checked.get(author, 0)), 4),
    }


def _tried_here(folds: Folds, author: bytes) -> Json:
    """How many of an author's claims this node ran, and how many of them were right by its own runs."""
    right: set[bytes] = set()
    wrong: set[bytes] = set()
    for about, was_right in findings(folds.feeds.get(folds.me, ()), folds.by_id.get):
        if about.author == author and isinstance(about.body, Experiment):
            (right if was_right else wrong).add(about.id)
    return {"claims": len(right | wrong), "right": len(right - wrong), "wrong": len(wrong)}


def _adoption(folds: Folds, record: Record) -> Json:
    body = record.body
    assert isinstance(body, Replication)
    claim = folds.by_id.get(body.discovery)
    return {
        "id": record.id.hex(),
        "of": body.discovery.hex(),
        "title": title_of(record, folds.by_id),
        "from": peer_id_of(claim.author) if claim is not None else None,
        "gain_text": gain_text(body.adoption, folds.measure) if body.adoption is not None else None,
        "route": body.route,
        "time": record.time,
    }
