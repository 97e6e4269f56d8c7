"""An objective's data files: whether they are in place and as declared, and how they get there. It runs no code.

"In place" is the data folder of the home; "as declared" is with the size and sha256 that objective.toml gives. Hashing
large files takes long, so a stamp file remembers which files were verified: by inode and time of the last change of
anything about them (ctime), which the kernel sets and nobody can set back, as they can the time of change (mtime).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from node.objective.schema import Data, Objective, ObjectiveError

STAMP = "verified"  # the stamp file's name, beside the data


def data_in_place(objective: Objective) -> bool:
    """Whether all data are in place and as declared. Files in the objective's own folder are copied if they are right.

    An objective that draws its text has no data, so nothing of it is ever missing.

    Raises ObjectiveError when a copy cannot be written.
    """
    if not objective.data:
        return True
    if _stamp(objective) == _read(objective.data_dir / STAMP):
        return True
    for data in missing_data(objective):
        if not is_not_as_declared(data, objective.root):
            _copy_from_root(objective, data)
    if missing_data(objective):
        return False
    confirm_data(objective)
    return True


def missing_data(objective: Objective) -> list[Data]:
    """The data that are not in place, or not as objective.toml declares them."""
    return [data for data in objective.data if is_not_as_declared(data, objective.data_dir)]


def take_data(objective: Objective, data: Data, path: Path) -> None:
    """Move a verified file, which lies elsewhere in the home, to its path among the data."""
    objective.data_dir.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(path, 0, 0)  # prepare.py ran as another user, which owns what it made
    path.chmod(0o644)
    path.replace(objective.data_dir / data.entry.path)


def _copy_from_root(objective: Objective, data: Data) -> None:
    objective.data_dir.mkdir(parents=True, exist_ok=True)
    draft = objective.data_dir / f"{data.entry.path}.new"
    try:
        shutil.copyfile(objective.root / data.entry.path, draft)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ObjectiveError(f"{data.entry.path} cannot be copied to {draft}: {error.strerror}") from None
    take_data(objective, data, draft)


def confirm_data(objective: Objective) -> None:
    """Remember that the data in place were verified. It holds until a file is written to, replaced, moved or copied."""
    (objective.data_dir / STAMP).write_text(_stamp(objective))


def _stamp(objective: Objective) -> str:
    """The objective's id, and each file's name, size, times of change and inode; "" while a file is missing."""
    lines = [objective.id.hex()]
    for data in objective.data:
        path = objective.data_dir / data.entry.path
        if not path.is_file():
            return ""
        found = path.stat()
        lines.append(f"{data.entry.path} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}")
    return "\n".join(lines)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def is_not_as_declared(data: Data, folder: Path) -> bool:
    """Whether a data file in a folder is missing or differs from what objective.toml declares."""
    path = folder / data.entry.path
    if not path.is_file() or path.is_symlink() or path.stat().st_size != data.entry.size:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest() != data.entry.sha256
