"""What monitoring reads of a node, in the OpenMetrics text format: counts and levels, nothing that is anybody's secret.

Made from the ledger and from what the running node says of itself. No address, no peer's name and no title is in it, so
the number of series does not grow with the swarm. docs/exports.md lists them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from node.ledger.projections.cached import CachedProjection
from node.ledger.projections.conclusions import conclusion
from node.ledger.store import Ledger
from node.platform.gpu_types import Gpu, GpuUse
from node.platform.log import Json
from node.proposers.spending import spent
from node.view.model import leaderboard as data
from protocol.evidence import Verdict
from protocol.identity import peer_id_of
from protocol.records import Experiment

CONTENT_TYPE = CONTENT_TYPE_LATEST
PREFIX = "autoresearch_"
PER_CENT = 100.0


@dataclass(frozen=True)
class Machine:
    """What a process sees of the machine besides. cpu_share: None where it is not the node's own process that asks."""

    cpu_share: float | None = None
    gpus: Sequence[tuple[Gpu, GpuUse]] = ()


@dataclass(frozen=True)
class _Collected:
    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


class OpenMetrics:
    """The text of one ledger; what follows from records is worked out again only where there are other ones."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._of_records = CachedProjection(ledger, lambda: list(_of_the_records(ledger)))

    def text(self, running: Json | None, paused: bool, machine: Machine) -> str:
        """running: the node's status.json, None where none runs. paused: whether a person has paused it."""
        families = [
            *_of_the_node(self._ledger, running, paused),
            *self._of_records(),
            *_of_the_home(self._ledger),
            *_of_the_machine(machine),
        ]
        text: bytes = generate_latest(_Collected(families))  # type: ignore[no-untyped-call]
        return text.decode()


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, about, value=value)


def _of_the_node(ledger: Ledger, running: Json | None, paused: bool) -> Iterator[Metric]:
    about = ledger.settings.description
    # A gauge: the type "info" is not known to readers of the older text format, such as the textfile collector.
    info = {"name": about.name, "metric": about.metric, "objective": ledger.objective.hex(), "measured": about.trust}
    objective = GaugeMetricFamily(f"{PREFIX}objective_info", "What this node researches.", labels=list(info))
    objective.add_metric(list(info.values()), 1)
    yield objective
    yield _gauge("running", "Whether a node runs in this home.", float(running is not None))
    resting = paused or bool(running and running.get("resting"))
    yield _gauge("paused", "Whether the node makes no runs, for a person or by its settings.", float(resting))
    if running is not None:
        yield _gauge("peers", "Peers that the node is connected to.", len(running.get("peers", ())))
        yield _gauge("runs_under_way", "Runs that are being made.", float(running.get("runs_at_once", 0)))
        yield _gauge("queue", "Peers' discoveries that this node has not run again.", running["waiting_replications"])
        yield _gauge("workers", "Workers elsewhere that make this node's runs.", len(running.get("workers", ())))


def _of_the_records(ledger: Ledger) -> Iterator[Metric]:
    records, measure = ledger.all_records(), ledger.settings.measure
    kinds = GaugeMetricFamily(f"{PREFIX}records", "Signed records held, by kind.", labels=["kind"])
    for kind, count in sorted(Counter(record.kind for record in records).items()):
        kinds.add_metric([kind], count)
    yield kinds
    yield _gauge("authors", "Keys whose records are held.", len(ledger.vector()))
    board = data.leaderboard(ledger)
    standings = Counter(one["standing"] for one in board["discoveries"])
    found = GaugeMetricFamily(f"{PREFIX}discoveries", "Claims, by their standing at this node.", labels=["standing"])
    for word in (Verdict.CONFIRMED, Verdict.OPEN, Verdict.REFUTED):
        found.add_metric([str(word)], standings[word])
    yield found
    own = ledger.settings.author
    feed = [record.body for record in ledger.feed(own)] if own else []
    tried = Counter(conclusion(body) for body in feed if isinstance(body, Experiment) and not body.chain)
    about = "This node's, by what its search concluded; the proof of a chain of them is none."
    experiments = GaugeMetricFamily(f"{PREFIX}own_experiments", about, labels=["conclusion"])
    for what, count in sorted(tried.items()):
        experiments.add_metric([what], count)
    yield experiments
    yield from _best(board["nodes"], peer_id_of(own) if own else None, "ratio" if measure.suffix else "metric")


def _of_the_home(ledger: Ledger) -> Iterator[Metric]:
    yield _gauge("runs", "Runs made here whose outcome is kept.", ledger.run_count())
    total, _ = spent(ledger.settings, time.time())
    yield CounterMetricFamily(f"{PREFIX}model_tokens", "Tokens that language models have cost.", value=total.tokens)
    yield CounterMetricFamily(f"{PREFIX}model_money", "Their price, in your bill's currency.", value=total.money)


def _best(nodes: Sequence[Json], own: str | None, unit: str) -> Iterator[Metric]:
    """The largest gain over the baseline: of this node as it measured it, of any node as others found it."""
    about = "Largest gain over the baseline; as a ratio, or in units of the metric."
    best = GaugeMetricFamily(f"{PREFIX}best_gain", about, labels=["figure", "unit"])
    divisor = PER_CENT if unit == "ratio" else 1.0
    figures = {
        "own": [node["gain"]["gain"] for node in nodes if node["peer"] == own and node["gain"]],
        "replicated": [node["replicated"]["gain"] for node in nodes if node["replicated"]],
    }
    for figure, gains in figures.items():
        if gains:
            best.add_metric([figure, unit], max(gains) / divisor)
    yield best


def _of_the_machine(machine: Machine) -> Iterator[Metric]:
    if machine.cpu_share is not None:
        yield _gauge("cpu_ratio", "Share of all processors that the node and its runs take.", machine.cpu_share)
    if not machine.gpus:
        return
    busy = GaugeMetricFamily(f"{PREFIX}gpu_busy_ratio", "Share of the time a GPU computes.", labels=["gpu"])
    used = GaugeMetricFamily(f"{PREFIX}gpu_memory_used_bytes", "Memory in use on a GPU.", labels=["gpu"], unit="bytes")
    heat = GaugeMetricFamily(
        f"{PREFIX}gpu_temperature_celsius", "Temperature of a GPU.", labels=["gpu"], unit="celsius"
    )
    for gpu, use in machine.gpus:
        name = [str(gpu.index)]
        used.add_metric(name, use.memory_total - use.memory_free)
        if use.busy_percent is not None:
            busy.add_metric(name, use.busy_percent / PER_CENT)
        if use.celsius is not None:
            heat.add_metric(name, use.celsius)
    yield from (busy, used, heat)
