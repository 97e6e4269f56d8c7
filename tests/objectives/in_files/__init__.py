"""An objective whose text is in files, with a plain seed and a judge that shows whole windows to two rooms.

The settings, train.py, judge.py and prepare.py of this folder are the objective's; it is for tests of what such
objectives need.
"""

import shutil
from pathlib import Path

IN_FILES = Path(__file__).parent


def copy_in_files(folder: Path) -> Path:
    """The objective's files, without those of its tests, in a folder of their own."""
    return Path(shutil.copytree(IN_FILES, folder / "in files", ignore=shutil.ignore_patterns("*test*", "__*")))
