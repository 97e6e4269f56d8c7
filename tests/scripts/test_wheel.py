"""The wheel has every file that the program reads, so that pipx and uv can install it from the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("node", "objectives", "protocol")
BESIDE = ("pyproject.toml", "README.md", "LICENSE", "swarm.toml", "constraints.txt")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone has of the packages; a wheel built in the repository itself would leave its build folder there."""
    clone = tmp_path_factory.mktemp("clone")
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, clone / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BESIDE:
        shutil.copy(REPOSITORY / name, clone / name)
    return clone


def test_the_wheel_has_every_file_of_the_packages_as_it_is(source: Path, tmp_path: Path) -> None:
    wanted = {
        str(path.relative_to(source)): path.read_bytes()
        for package in PACKAGES for path in (source / package).rglob("*") if path.is_file()
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        tmp_path,
    ]
    subprocess.run([*command, source], check=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = [name for name in packed.namelist() if not name.split("/")[0].endswith((".dist-info", ".data"))]
        shared = [name.split(".data/data/")[1] for name in packed.namelist() if ".data/data/" in name]
        assert sorted(names) == sorted(wanted)
        assert all(packed.read(name) == content for name, content in wanted.items())
    assert sorted(shared) == ["share/autoresearch-node/constraints.txt", "share/autoresearch-node/swarm.toml"]
