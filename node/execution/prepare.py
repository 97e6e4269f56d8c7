"""Making an objective's data: prepare.py runs in the sandbox, and what it made is checked before it is taken over."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from node.execution.sandbox import launch
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import run_once
from node.execution.sandbox.watch import ProcessEnd
from node.ledger.files import DISK_RESERVE
from node.objective.data import confirm_data, data_in_place, is_not_as_declared, missing_data, take_data
from node.objective.limits import HostLimits, data_bytes
from node.objective.schema import Data, Objective, ObjectiveError
from node.platform.log import Log

PREPARE_SECONDS = 900.0  # of wall time and of CPU: data are made once
PREPARE_MEMORY = 2 << 30  # bytes
NOTHING: Mapping[str, Path] = {}
SCRATCH_BYTES = 16 << 20  # that prepare.py may write besides the data and one copy of them


async def prepare_data(
    objective: Objective, layers: Layers, limits: HostLimits, log: Log, downloaded: Mapping[str, Path] = NOTHING
) -> None:
    """Put the objective's data in place, verified. Raises ObjectiveError when they cannot be made.

    downloaded: where the objective's downloads lie, by their names; those that are not here are left out.

    Data that are there and as declared stay. Otherwise prepare.py runs in the sandbox, into a new folder, so that
    nothing of an earlier attempt remains. It gets no more than the host's limits, which the declared data are within.
    What it made is taken over only when every file is as declared.
    """
    if data_in_place(objective):
        return
    if objective.prepare is None:
        lacking = ", ".join(data.entry.path for data in missing_data(objective))
        raise ObjectiveError(
            f"{lacking} of {objective.name} cannot be made: put it, as declared, into {objective.root}"
        )
    absent = [each.name for each in objective.downloads if each.name not in downloaded]
    if absent:
        names = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
        raise ObjectiveError(
            f"the data of {objective.name} are made from files that are not here yet ({names}): `autoresearch-node "
            f"objective prepare {objective.name}` shows from where they would be fetched, and asks"
        )
    size = data_bytes(objective)
    log("preparing data", title=objective.name, megabytes=round(size / 1e6, 1), note="once in this home")
    draft = objective.data_dir.with_name(objective.data_dir.name + ".making")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        outcome = await run_prepare(objective.root, objective.prepare, layers, limits, draft, size, downloaded)
        _confirm_made(objective, outcome, draft)
        for data in objective.data:
            take_data(objective, data, draft / data.entry.path)
        confirm_data(objective)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


async def run_prepare(
    root: Path,
    prepare: str,
    layers: Layers,
    limits: HostLimits,
    draft: Path,
    size: int,
    downloaded: Mapping[str, Path] = NOTHING,
) -> ProcessEnd:
    """Run an objective's script that makes `size` bytes of data, into the folder `draft`; returns how it ended.

    The script's arguments are that folder, and NAME=PATH for each file that was downloaded for it, which it may read.
    """
    seconds = min(PREPARE_SECONDS, limits.wall_seconds)
    policy = Policy(
        wall_seconds=seconds,
        cpu_seconds=seconds,
        memory_bytes=min(PREPARE_MEMORY, limits.memory_bytes),
        tasks=16,
        output_bytes=1 << 20,
        read_only=(root, *downloaded.values()),
        writable=draft,
        writable_bytes=_disk_for(size, limits, draft),
    )
    words = [str(draft), *(f"{name}={path}" for name, path in downloaded.items())]
    return await run_once([*launch.python(root / prepare), *words], policy, layers)


def _confirm_made(objective: Objective, outcome: ProcessEnd, draft: Path) -> None:
    """Raise ObjectiveError where the script failed, or made other data than are declared."""
    wrong = [_as_made(data, draft) for data in objective.data if is_not_as_declared(data, draft)]
    if outcome.reason != "exit" or outcome.code != 0 or wrong:
        why = f"{', '.join(wrong)} not as declared" if wrong and outcome.code == 0 else f"it ended by {outcome.reason}"
        raise ObjectiveError(f"{objective.prepare} did not make the data: {why}\n{outcome.log_tail}")


def _disk_for(size: int, limits: HostLimits, draft: Path) -> int:
    """Bytes that prepare.py may write: the data, once more while they are made, as far as the host lets it."""
    free = shutil.disk_usage(draft).free - DISK_RESERVE
    if size > free:
        raise ObjectiveError(
            f"the data are {size / 1e6:.0f} MB and only {max(0, free) / 1e6:.0f} MB of disk are free for them; make "
            "room, or choose a home on another disk with --home"
        )
    return min(2 * size + SCRATCH_BYTES, limits.data_bytes, free)


def _as_made(data: Data, folder: Path) -> str:
    """Name a file that is not as declared, and say what would have to be declared for it."""
    path = folder / data.entry.path
    if not path.is_file() or path.is_symlink():
        return f"{data.entry.path} (not made)"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f'{data.entry.path} (made with sha256 = "{digest}", size = {path.stat().st_size})'
