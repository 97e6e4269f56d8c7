"""The command `reproduce`: repeat the runs that a record reports on this machine, and compare the values.

It needs the record, its sources and the objective, but neither the network nor a running node. No run comes from the
cache, and nothing is written to the ledger.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from node.app.researched import asked_for, held
from node.execution.drawn_texts import MAX_TEXT
from node.execution.prepare import prepare_data
from node.execution.run_progress import Progress
from node.execution.runs import runner_for
from node.execution.sandbox.layers import Layers, probe, remedy, tier
from node.ledger.store import Ledger
from node.network.downloads.store import DownloadStore
from node.objective.limits import HostLimits, gpus_for, refuse_beyond
from node.objective.scales import DEVICES
from node.objective.schema import Objective, ObjectiveError
from node.platform.config import SandboxBackend
from node.platform.file_trouble import HomeError
from node.platform.gpus import Gpu
from node.platform.home import Home
from node.platform.log import short_id
from node.trials.trial import recorded
from node.view.terminal.run_bar import RunBar
from protocol.audits import is_same_effect
from protocol.metric import Metric
from protocol.records import Experiment, Pair, Record, Replication, Transfer

Show = Callable[[str, Progress], None]


class CannotReproduceError(HomeError):
    """The record cannot be run again here; the text says why and what to do."""


@dataclass(frozen=True)
class Compared:
    """One run: its value in the record and on this machine. Values are the metric; None where the run failed.

    same: both are equal to the last digit, as the same source, seed and platform must give it. Where runs do not
    repeat, it is the pair that must: it shows the effect reported, within what the objective's spread allows.
    """

    of: str  # "screening" or "pair N"
    side: str  # "parent" or "child"
    seed: int
    said: float | None
    found: float | None
    failure: str | None
    checkpoints_equal: bool
    same: bool
    spread: float  # of an effect, by the objective; 0 where runs repeat


def pairs_of(record: Record) -> list[tuple[str, Pair]]:
    """The pairs of runs a record reports. Raises CannotReproduceError when it reports none."""
    body = record.body
    if not isinstance(body, Experiment | Replication | Transfer):
        raise CannotReproduceError(
            "this record reports no runs; `records` shows which are experiments, replications and transfers"
        )
    screening = [("screening", body.screening)] if isinstance(body, Experiment) and body.screening else []
    return screening + [(f"pair {number}", pair) for number, pair in enumerate(body.pairs, 1)]


def rows(
    home: Home, ledger: Ledger, record: Record, objective: str | None, limits: HostLimits, backend: SandboxBackend
) -> list[dict[str, Any]]:
    """One row per run (see Compared). objective: a name or folder where the home does not have it. backend: of runs.

    Raises HomeError with a sentence for the person who asked.
    """
    found = _as_recorded(_objective(home, ledger, objective), record)
    try:
        refuse_beyond(found, limits)
    except ObjectiveError as error:
        raise CannotReproduceError(str(error)) from None
    layers = probe(backend)
    if tier(layers) is None:
        raise HomeError("; ".join(remedy(layers)))

    async def run() -> list[dict[str, Any]]:
        store = DownloadStore(home.downloads)
        await prepare_data(found, layers, limits, silent, store.paths(found.downloads))
        with RunBar() as view:
            gpus, _ = gpus_for(found, limits)
            again = await reproduce(record, ledger, found, layers, view.show, limits.data_bytes, gpus)
        return [asdict(each) for each in again]

    return trio.run(run)


def _objective(home: Home, ledger: Ledger, name: str | None) -> Objective:
    if name is None:
        return held(home, ledger.objective, ledger).objective
    objective = asked_for(name, home, ledger).objective
    if objective.id != ledger.objective:
        raise HomeError(f"{name} is another objective than the record's; its files must be the same to the last byte")
    return objective


def _as_recorded(objective: Objective, record: Record) -> Objective:
    """The objective with the budget of the record's scale or compute class. Raises CannotReproduceError."""
    body = record.body
    if isinstance(body, Transfer):
        try:
            return objective.at_scale(body.scale)
        except KeyError:
            raise CannotReproduceError(f"{objective.name} has no scale {body.scale!r}") from None
    if not isinstance(body, Experiment | Replication):
        return objective
    scales = (objective.on_device(device) for device in DEVICES)
    found = next((at for at in scales if at is not None and at.same_budget(body.compute_class)), None)
    if found is None:
        raise CannotReproduceError(
            f"this record is of the compute class {body.compute_class}, for which {objective.name} has no budget"
        )
    return found


async def reproduce(
    record: Record,
    ledger: Ledger,
    objective: Objective,
    layers: Layers,
    show: Show,
    data_bytes: int = MAX_TEXT,
    gpus: Sequence[Gpu] = (),
) -> list[Compared]:
    """Run a record's pairs again, in its order. Raises CannotReproduceError when a source has not arrived here.

    data_bytes: the host's limit for an objective's data, also for texts that it draws. gpus: those that runs may use.
    """
    body = record.body
    found: list[Compared] = []
    pairs = pairs_of(record)
    assert isinstance(body, Experiment | Replication | Transfer)
    texts = {side: _source(ledger, source) for side, source in (("parent", body.parent), ("child", body.child))}
    with tempfile.TemporaryDirectory(prefix="reproduce-") as folder:
        async with runner_for(objective, layers, Path(folder), silent, data_bytes=data_bytes, gpus=gpus) as runner:
            for name, pair in pairs:
                parent, child = [
                    recorded(await runner.run(texts[side], pair.seed, partial(show, f"{name}, {side}")))
                    for side in ("parent", "child")
                ]
                found += compared(name, pair, Pair(pair.seed, parent, child), objective.measure)
    return found


def silent(*_: object, **__: object) -> None:
    """Events that nobody reads."""


def compared(name: str, reported: Pair, found: Pair, metric: Metric) -> list[Compared]:
    sides = (("parent", reported.parent, found.parent), ("child", reported.child, found.child))
    same_effect = metric.spread > 0 and is_same_effect(reported, found, metric, comparable=False)
    return [
        Compared(
            of=name,
            side=side,
            seed=reported.seed,
            said=said.value,
            found=now.value,
            failure=now.failure,
            checkpoints_equal=said.checkpoints == now.checkpoints,
            same=same_effect if metric.spread else said.value == now.value,
            spread=metric.spread,
        )
        for side, said, now in sides
    ]


def _source(ledger: Ledger, source: bytes) -> str:
    data = ledger.get_blob(source)
    if data is None:
        raise CannotReproduceError(
            f"source {short_id(source)} has not arrived here; let the node run with peers connected and ask again"
        )
    return data.decode("utf-8", errors="replace")
