"""Runs in an MLflow store: one SQLite file, as `mlflow ui --backend-store-uri sqlite:///FILE` opens it.

Written with MLflow's own client, which is an extra of this package. A run is known again by its record's id: made
again, figures and the standing are brought up to date, and new runs are added. MLflow's own telemetry stays off.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from node.platform.environment import no_telemetry
from node.view.files.tracked_runs import TrackedRun

RECORD = "autoresearch.record"
MOST_AT_ONCE = 1000  # metrics in one call: the client's own limit
MOST_PARAMS = 100
MOST_SETTING = 500  # characters
CHANGING = ("standing",)  # settings that may be others the next time, and so are tags
NOT_IN_NAMES = re.compile(r"[^\w./: -]")  # of metrics


def write_store(runs: Iterable[TrackedRun], file: Path, experiment: str) -> int:
    """Add every run to the file; returns how many there are. Raises ImportError without the package."""
    no_telemetry()
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{file.absolute()}")
    held = client.get_experiment_by_name(experiment)
    place = held.experiment_id if held is not None else client.create_experiment(experiment)
    known = {run.data.tags[RECORD]: run.info.run_id for run in _runs(client, place)}
    count = 0
    for run in runs:
        key = run.record or run.name
        _write(client, place, run, key, known.get(key))
        count += 1
    return count


def _runs(client: Any, place: str) -> Iterator[Any]:
    """Every run that an earlier call has written."""
    token = None
    while True:
        page = client.search_runs([place], f"tags.`{RECORD}` != ''", max_results=MOST_AT_ONCE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _write(client: Any, place: str, run: TrackedRun, key: str, known: str | None) -> None:
    from mlflow.entities import Metric, Param, RunTag

    if known is None:
        about = {RECORD: key, "mlflow.note.content": run.settings.get("reason", "")}
        name = run.settings.get("title") or run.name
        known = client.create_run(place, start_time=run.time, tags=about, run_name=name).info.run_id
        settings = [Param(k, v[:MOST_SETTING]) for k, v in run.settings.items() if v and k not in CHANGING]
        client.log_batch(known, params=settings[:MOST_PARAMS])
        points = [
            Metric(_name(name), value, run.time, step) for name, series in run.series.items() for step, value in series
        ]
        for start in range(0, len(points), MOST_AT_ONCE):
            client.log_batch(known, metrics=points[start : start + MOST_AT_ONCE])
    now = time.time_ns() // 1_000_000
    figures = [Metric(_name(name), value, now, 0) for name, value in run.figures.items()]
    tags = [RunTag(name, run.settings[name]) for name in CHANGING if name in run.settings]
    client.log_batch(known, metrics=figures, tags=tags)
    client.set_terminated(known, "FINISHED", run.time)


def _name(name: str) -> str:
    return NOT_IN_NAMES.sub("_", name)
