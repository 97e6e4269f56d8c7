"""Runs as TensorBoard event files: scalars, texts and hyperparameters, in a folder for each run.

Written with TensorBoard's own package, which is an extra of this one. The files have names of their own and no host
name in them; made again, they replace those of last time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from node.platform.private_files import DRAFT
from node.view.files.tracked_runs import TrackedRun

FILE = "events.out.tfevents.0.autoresearch"  # what TensorBoard looks for begins with these three words
TEXTS = ("title", "reason")


def write_events(runs: Iterable[TrackedRun], folder: Path) -> int:
    """Write every run; returns how many. Raises ImportError without the package, OSError where a file cannot be."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    count = 0
    for run in runs:
        place = folder / run.name
        place.mkdir(parents=True, exist_ok=True)
        draft = place / f".{DRAFT}"
        with draft.open("wb") as file:
            writer = RecordWriter(file)
            for event in _events(run):
                writer.write(event.SerializeToString())
        draft.replace(place / FILE)
        count += 1
    return count


def _events(run: TrackedRun) -> Iterator[Any]:
    from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata
    from tensorboard.compat.proto.summary_pb2 import Summary

    when = run.time / 1000

    def scalar(name: str, value: float, step: int = 0) -> Any:
        values = [Summary.Value(tag=name, simple_value=value)]
        return Event(wall_time=when, step=step, summary=Summary(value=values))

    writer = SourceMetadata(writer="autoresearch-node")
    yield Event(wall_time=when, file_version="brain.Event:2", source_metadata=writer)
    if run.figures:
        for summary in _hyperparameters(run):
            yield Event(wall_time=when, summary=summary)
    for name in TEXTS:
        if run.settings.get(name):
            yield Event(wall_time=when, summary=_text(name, run.settings[name]))
    for name, value in run.figures.items():
        yield scalar(name, value)
    for name, points in run.series.items():
        for step, value in points:
            yield scalar(name, value, step)


def _text(name: str, content: str) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.text.metadata import create_summary_metadata

    tensor = TensorProto(dtype=DT_STRING, string_val=[content.encode()])
    value = Summary.Value(tag=name, metadata=create_summary_metadata(name, ""), tensor=tensor)
    return Summary(value=[value])


def _hyperparameters(run: TrackedRun) -> Iterator[Any]:
    """The run's settings, as the tab HPARAMS compares them, and that it has ended."""
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2, summary_v2
    from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG

    settings = {name: value for name, value in run.settings.items() if name not in TEXTS}
    yield summary_v2.hparams_pb(settings, trial_id=run.record, start_time_secs=run.time / 1000)
    ended = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=run.time / 1000)
    yield summary_v2._summary_pb(SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=ended))
