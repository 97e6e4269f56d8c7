"""Small folders that are objectives of the kind `command`, and what becomes of a run of one."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from node.execution.command.command_runner import CommandRunner
from node.execution.run_progress import Progress
from node.execution.sandbox.layers import Layers
from node.ledger.outcome import Outcome
from node.objective.load import load_objective
from node.objective.schema import Objective

SEED = 7
HEAD = """kind = "command"
name = "small"
summary = "A small command"
editable = {editable}
files = ["*"]
categories = ["anything"]
[metric]
name = "score"
unit = "{unit}"
direction = "lower"
scale = "{scale}"
[budget]
wall_seconds = {wall_seconds}
threads = 1
memory_mb = {memory_mb}
[statistics]
s0 = 0.01
minimum_effect = 0.002
max_pairs = 6
[command]
"""


def command_objective(
    root: Path,
    files: Mapping[str, str | bytes],
    *,
    command: str = 'run = "bash bench.sh"',
    rest: str = "",
    editable: Sequence[str] = ("source.txt",),
    scale: str = "log",
    unit: str = "",
    wall_seconds: float = 20,
    memory_mb: int = 1000,
) -> Objective:
    """The objective of a folder with these files. command: lines of [command] and tables below it."""
    for path, content in {"source.txt": "source\n", **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content.encode() if isinstance(content, str) else content)
    head = HEAD.format(
        editable=json.dumps(list(editable)), scale=scale, unit=unit, wall_seconds=wall_seconds, memory_mb=memory_mb
    )
    (root / "objective.toml").write_text(f"{head}{command}\n{rest}\n")
    return load_objective(root, root.with_name("data"))


async def run(
    objective: Objective,
    layers: Layers,
    source: str | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
    folders: Path | None = None,
) -> Outcome:
    """One run at SEED, of the baseline where no source is given."""
    folders = objective.root.with_name("run-folders") if folders is None else folders
    async with CommandRunner(objective, layers, folders) as runner:
        outcome = await runner.run(objective.source if source is None else source, SEED, progress)
        assert processes_in(runner.folders_dir) == []
    assert not runner.folders_dir.exists()
    return outcome


def processes_in(folder: Path) -> list[str]:
    """Processes whose working directory lies in a folder."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended
            where = os.readlink(f"/proc/{name}/cwd")
            if where.startswith(str(folder)):
                found.append(f"{name} in {where}")
    return found
