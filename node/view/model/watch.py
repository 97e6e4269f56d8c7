"""What `watch` shows, as plain data: what the node here is doing, and what the swarm has found, the newest first.

Folded from the ledger by the same functions as the leaderboard. Everything in a list is bounded, since a ledger is
not. It does not know terminals; the code that draws peers' texts cleans them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from node.ledger.projections.conclusions import Conclusion
from node.ledger.projections.discoveries import pending_replications
from node.ledger.store import Ledger
from node.platform.log import Json
from node.view.model import leaderboard as data
from node.view.model.baseline import baseline
from node.view.model.rows import rows_of
from protocol.evidence import Verdict
from protocol.identity import peer_id_of
from protocol.metric import Metric
from protocol.records import Experiment

MOST_DISCOVERIES = 200
MOST_CLASSES = 20
MOST_STEPS = 200  # of the curve of a class
MOST_WAITING = 10


def watch_model(ledger: Ledger) -> Json:
    """The swarm's discoveries, the best of every compute class, and what waits to be replicated here."""
    records = ledger.all_records()
    author = ledger.settings.author
    board = data.leaderboard(ledger)
    found = board["discoveries"]
    arrived = {record.id.hex(): number for number, record in enumerate(records)}
    refuted = {one["id"] for one in found if one["standing"] == Verdict.REFUTED}
    waiting = pending_replications(records, author)
    steps = _steps(rows_of(records, baseline(ledger)), refuted, ledger.settings.measure)
    bodies = [record.body for record in waiting[:MOST_WAITING]]
    newest = sorted(found, key=lambda one: -arrived[one["id"]])[:MOST_DISCOVERIES]
    return {
        "peer": peer_id_of(author) if author else None,
        **data.measured_json(ledger),
        "records": len(records),
        "authors": len(ledger.vector()),
        "standings": {
            name: sum(one["standing"] == name for one in found)
            for name in (Verdict.CONFIRMED, Verdict.OPEN, Verdict.REFUTED)
        },
        "discoveries": [one | {"arrived": arrived[one["id"]]} for one in newest],
        "classes": _classes(board["nodes"], steps),
        "waiting": len(waiting),
        "waiting_titles": [body.title for body in bodies if isinstance(body, Experiment)],
    }


def _classes(nodes: Sequence[Json], steps: Mapping[str, Sequence[float]]) -> list[Json]:
    """The compute classes in which anything was run, those with the most nodes first."""
    by_class: dict[str, list[Json]] = {}
    for node in nodes:  # the best of a class comes first
        if node["compute_class"]:
            by_class.setdefault(node["compute_class"], []).append(node)
    shown = sorted(by_class, key=lambda name: (-len(by_class[name]), name))[:MOST_CLASSES]
    return [
        {
            "class": name,
            "nodes": len(by_class[name]),
            "peer": by_class[name][0]["peer"],
            "replicated": by_class[name][0]["replicated"],
            "gain": by_class[name][0]["gain"],
            "values": list(steps.get(name, ())[-MOST_STEPS:]),
        }
        for name in shown
    ]


def _steps(rows: Sequence[Json], refuted: set[str], metric: Metric) -> dict[str, list[float]]:
    """By class, the level of the best source of which any node claims something, each time it got better; first before.

    Levels are by the gains that their finders measured; what is refuted is left out.
    """
    found: dict[str, list[float]] = {}
    for one in rows:
        claimed = one.get("conclusion") == Conclusion.CLAIMED and one["id"] not in refuted
        adopted = bool(one.get("route")) and one["of"] not in refuted
        if "level" not in one or not (claimed or adopted):
            continue
        steps = found.setdefault(one["class"], [one["level_from"]])
        if metric.is_better(one["level"], steps[-1]):
            steps.append(one["level"])
    return found
