"""The made-up language is the same bytes everywhere, and its floor is what the objective says."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

TINYLM = Path(__file__).parents[3] / "objectives" / "tinylm"


def test_the_data_are_the_bytes_the_objective_names(tmp_path: Path) -> None:
    command = [sys.executable, str(TINYLM / "prepare.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    floors = [float(floor) for floor in re.findall(r"entropy floor ([0-9.]+)", done.stdout)]
    assert len(floors) == 3
    assert all(0.68 < floor < 0.70 for floor in floors)
    for entry in tomllib.loads((TINYLM / "objective.toml").read_text())["data"]:
        data = (tmp_path / entry["path"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["size"], entry["sha256"])
    train, val, holdout = ((tmp_path / f"{name}.bin").read_bytes() for name in ("train", "val", "holdout"))
    assert not shared(train, val) and not shared(train, holdout) and not shared(val, holdout)  # noqa: PT018


def shared(one: bytes, other: bytes, length: int = 200) -> bool:
    """Whether a long passage of one text is in the other."""
    return any(other[start : start + length] in one for start in range(0, len(other) - length, 5000))
