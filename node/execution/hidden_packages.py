"""Where the packages and folders lie that an objective hides from its runs, as the judge asks about text in them.

A package may be installed beside this Python, beside the one that its virtual environment was made from, and by the
system; another program may bring a copy of its own, as Google's command line does in /usr/lib. All of these are
readable in the sandbox, so all are hidden. One that is not here needs no hiding. A folder of the system, such as that
of its documentation, is hidden as it is named.
"""

from __future__ import annotations

import os
import sysconfig
from functools import cache
from pathlib import Path

from node.execution.sandbox import readable_paths
from node.objective.schema import Objective

# Folders in which there are packages, by name: where Python installs them, and where programs keep copies for
# themselves.
_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "third_party", "vendor", "_vendor", "vendored", "_vendored", "vendored_packages"}
)


def hidden_paths(objective: Objective) -> tuple[Path, ...]:
    """The files and folders that no run of the objective may read."""
    found: dict[Path, None] = {}
    names = [name for name in objective.hidden if not name.startswith("/")]
    found |= {Path(name).resolve(): None for name in objective.hidden if name.startswith("/") and Path(name).exists()}
    if not names:
        return tuple(found)
    installed = (Path(sysconfig.get_path(name)) for name in ("purelib", "platlib"))
    for folder in (*installed, *package_folders((*readable_paths.system(), *readable_paths.python()))):
        for name in names:
            places = [folder / name, folder / f"{name}.py", *(folder / "__pycache__").glob(f"{name}.*.pyc")]
            found |= dict.fromkeys(path.resolve() for path in places if path.exists())
    return tuple(found)


@cache
def package_folders(shown: tuple[str, ...]) -> tuple[Path, ...]:
    """Every folder with packages in what a program in the sandbox is shown.

    Takes seconds the first time, as it looks through all of the system's programs and libraries.
    """
    roots = {os.path.realpath(path) for path in shown}
    outermost = [root for root in sorted(roots) if not any(root.startswith(f"{other}/") for other in roots)]
    return tuple(
        Path(folder, name)
        for root in outermost
        for folder, names, _ in os.walk(root)
        for name in sorted(_FOLDERS.intersection(names))
    )
