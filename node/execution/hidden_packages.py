"""Where the packages lie that an objective hides from its runs, because the text that its judge asks about is in them.

A package may be installed beside this Python, beside the one that its virtual environment was made from, and by the
system; all of these are readable in the sandbox, so all are hidden. One that is not here needs no hiding.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from node.objective.schema import Objective

_SYSTEM = (Path("/usr/lib"), Path("/usr/lib64"), Path("/usr/local/lib"), Path("/usr/local/lib64"))
_FOLDERS = ("python3*/site-packages", "python3*/dist-packages")


def hidden_paths(objective: Objective) -> tuple[Path, ...]:
    """The files and folders that no run of the objective may read."""
    found: dict[Path, None] = {}
    for folder in _package_folders():
        for name in objective.hidden:
            places = [folder / name, folder / f"{name}.py", *(folder / "__pycache__").glob(f"{name}.*.pyc")]
            found |= dict.fromkeys(path.resolve() for path in places if path.exists())
    return tuple(found)


def _package_folders() -> Iterator[Path]:
    """Every folder with installed packages that a program in the sandbox can read."""
    yield from {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    prefixes = {Path(prefix) for prefix in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)}
    for parent in (*(prefix / lib for prefix in sorted(prefixes) for lib in ("lib", "lib64")), *_SYSTEM):
        for pattern in _FOLDERS:
            yield from sorted(parent.glob(pattern))
