"""What a tool for tracking experiments is given: every experiment as a run with its settings, figures and curves.

A record is one run there, with the same names whatever the tool: what was tried under which conditions (settings, as
text), what came of it (figures), and what went on meanwhile (series: the values of the checkpoints, which travel in the
record, and the loss curve, where the run was made at this node). The level of each best source, author by author, is a
run of its own: that is the staircase. It knows no tool and no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from node.ledger.outcome import Outcome
from node.ledger.projections.discoveries import Discovery, discoveries
from node.ledger.projections.effects import gain, gain_error
from node.ledger.store import Ledger
from node.platform.log import Json, short_id
from node.view.model.baseline import baseline
from node.view.model.leaderboard import gain_unit
from node.view.model.rows import rows_of
from protocol.identity import short, short_peer
from protocol.metric import Metric
from protocol.records import Effect, Experiment, Pair, Record, metric_of

NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
MOST_NAME = 60  # characters of a title in a run's name
PERCENT_OF_BUDGET = "loss by per cent of the budget"


@dataclass(frozen=True)
class TrackedRun:
    """One run as such tools know them. time: when it was signed, in milliseconds since 1970, as its author states it.

    record: its id, in hexadecimal; "" of a staircase. series: (step, value) by name.
    """

    name: str
    record: str
    time: int
    settings: dict[str, str]
    figures: dict[str, float]
    series: dict[str, list[tuple[int, float]]] = field(default_factory=dict)


def tracked_runs(ledger: Ledger) -> Iterator[TrackedRun]:
    """The staircase of every author, then every experiment in the order of arrival."""
    records = ledger.all_records()
    rows = rows_of(records, baseline(ledger, records))
    found = {one.record.id: one for one in discoveries(records, ledger.weights(ledger.settings.author))}
    made_here = {(source, seed): outcome for source, seed, outcome in ledger.all_runs()}
    yield from _staircases(rows, ledger)
    for record, row in zip(records, rows, strict=True):
        if isinstance(record.body, Experiment):
            yield _experiment(record, record.body, row, ledger, found.get(record.id), made_here)


def gain_name(what: str, metric: Metric) -> str:
    """The name of a figure that is a gain: "gain in per cent", or "gain" in units of the metric."""
    return f"{what} in per cent" if gain_unit(metric) else what


def _staircases(rows: Sequence[Json], ledger: Ledger) -> Iterator[TrackedRun]:
    """For each author the level of every experiment and of the best so far, by the number of its experiment."""
    about = ledger.settings.description
    by_author: dict[str, list[Json]] = {}
    for row in rows:
        if row.get("level") is not None:
            by_author.setdefault(row["by"], []).append(row)
    for author, own in by_author.items():
        best = own[0]["level_from"]
        tried, stairs = [], [(0, best)]
        for number, row in enumerate(own, 1):
            if row.get("kept") or row["kind"] == "replication":
                best = row["level"] if about.measure.is_better(row["level"], best) else best
            tried.append((number, row["level"]))
            stairs.append((number, best))
        settings = {"objective": about.name, "author": author, "measured": about.trust}
        series = {f"best {about.metric}": stairs, f"{about.metric} tried": tried}
        yield TrackedRun(f"progress {_plain(short_peer(author))}", "", own[-1]["time"], settings, {}, series)


def _experiment(
    record: Record,
    body: Experiment,
    row: Json,
    ledger: Ledger,
    found: Discovery | None,
    made_here: dict[tuple[bytes, int], Outcome],
) -> TrackedRun:
    about, metric = ledger.settings.description, metric_of(body)
    pairs = body.pairs or ((body.screening,) if body.screening else ())
    settings = {
        "objective": about.name,
        "title": body.title,
        "reason": body.reason,
        "category": body.category,
        "proposer": body.proposer,
        "author": short(record.author),
        "decision": str(body.decision),
        "conclusion": str(row["conclusion"]),
        "kept": "yes" if row["kept"] else "no",
        "class": body.compute_class,
        "device": body.device,
        "measured": about.trust,
        "standing": str(found.standing.verdict) if found else "no claim",
        "seeds": " ".join(str(pair.seed) for pair in pairs),
        "parent": short_id(body.parent),
        "source": short_id(body.child),
    }
    figures = {
        **({f"level of {about.metric}": row["level"]} if row.get("level") is not None else {}),
        **_gain("gain", body.effect, metric),
        **_gain("gain on holdout", body.holdout, metric),
        **_gain("gain others found", found.standing.effect if found else None, metric),
        **({"cost ratio": body.cost_ratio} if body.cost_ratio is not None else {}),
    }
    name = f"{_plain(body.title)[:MOST_NAME]}-{short_id(record.id)}".lstrip("-.")
    series = {**_checkpoints(pairs, about.metric), **_curves(body, pairs, made_here)}
    return TrackedRun(name, record.id.hex(), record.time, settings, figures, series)


def _gain(what: str, effect: Effect | None, metric: Metric) -> dict[str, float]:
    if effect is None:
        return {}
    return {
        gain_name(what, metric): gain(effect, metric),
        gain_name(f"error of {what}", metric): gain_error(effect, metric),
        f"pairs of {what}": float(effect.n),
    }


def _checkpoints(pairs: Sequence[Pair], metric: str) -> dict[str, list[tuple[int, float]]]:
    """The values at the checkpoints of the first pair's runs: pairs of other seeds would not compare."""
    found: dict[str, list[tuple[int, float]]] = {}
    for pair in pairs[:1]:
        for name, run in (("this edit", pair.child), ("its parent", pair.parent)):
            if run.checkpoints:
                found[f"{metric} at checkpoints/{name}"] = [(step, value) for step, value in run.checkpoints]
    return found


def _curves(
    body: Experiment, pairs: Sequence[Pair], made_here: dict[tuple[bytes, int], Outcome]
) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for name, source in (("this edit", body.child), ("its parent", body.parent)):
        outcome = next((made_here[source, p.seed] for p in pairs if (source, p.seed) in made_here), None)
        if outcome is not None and outcome.curve:
            points = {round(100 * point.share): point.loss for point in outcome.curve}
            found[f"{PERCENT_OF_BUDGET}/{name}"] = sorted(points.items())
    return found


def _plain(title: str) -> str:
    """A title in characters that any file system and any tool takes for a name."""
    return NOT_IN_NAMES.sub("-", title).strip("-.")
