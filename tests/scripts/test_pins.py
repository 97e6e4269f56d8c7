"""What the set-up installs is listed with its hashes, for every machine that a node runs on, and can be asked about."""

from __future__ import annotations

import json
import re
import stat
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "scripts")]

import pins  # noqa: E402

LINUX, OTHER = "1" * 64, "2" * 64


def wheel(name: str, digest: str) -> dict[str, object]:
    return {"url": f"file:///files/{name}", "hashes": {"sha256": digest}}


def listed() -> dict[str, str]:
    found = [pin.split("==") for name in pins.ABOUT for pin in pins.requirements(pins.PINNED / f"{name}.txt")]
    assert len(found) == len(dict(found)), "a package stands in two lists"
    return dict(found)


def test_every_pin_is_listed_with_its_hashes() -> None:
    """Where this fails after a change of versions: `pins.py lists` writes the lists anew."""
    versions = listed()
    lines = [line for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line]
    torch = [
        need for need in tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
        if need.startswith("torch==")
    ]  # fmt: skip
    on_linux = dict(line.split("==") for line in (*lines, *torch))
    assert {canonicalize_name(name): version for name, version in on_linux.items()}.items() <= versions.items()
    for name in pins.ABOUT:
        text = (pins.PINNED / f"{name}.txt").read_text()
        for block in re.split(r"\n(?=\S)", text.rstrip("\n"))[1:]:
            head, *hashes = block.split(" \\\n")
            assert re.fullmatch(r"[a-z0-9-]+==\S+( ; .+)?", head)
            assert hashes
            assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", each) for each in hashes), head


def test_the_usual_build_of_torch_and_that_for_processors_are_both_listed() -> None:
    text = (pins.PINNED / "torch.txt").read_text()
    cpu = [line.split()[0] for line in pins.TORCH_CPU.read_text().splitlines() if not line.startswith("#")]
    assert len(cpu) < text.count("sha256:")
    assert all(f"sha256:{digest}" in text for digest in cpu)


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True),
        ("a-1-cp37-abi3-musllinux_1_2_aarch64.whl", True),
        ("a-1-cp310-cp310-manylinux_2_17_x86_64.whl", False),
        ("a-1-cp312-cp312-macosx_11_0_arm64.whl", False),
        ("a-1-cp312-cp312-win_amd64.whl", False),
        ("a-1-cp312-cp312-manylinux_2_17_i686.whl", False),
        ("a-1-pp311-pypy311_pp73-manylinux_2_17_x86_64.whl", False),
    ],
)
def test_only_files_that_linux_can_use_are_listed(name: str, fits: bool) -> None:
    assert pins.fits_linux(name) is fits


def test_a_package_is_sorted_by_who_needs_it_and_how_it_is_installed() -> None:
    def entry(name: str, **more: object) -> dict[str, object]:
        files = [wheel(f"{name.replace('-', '_')}-1-py3-none-any.whl", LINUX)]
        return {"name": name, "version": "1", "wheels": files, **more}

    sdist = {"url": "file:///files/built-1.tar.gz", "hashes": {"sha256": LINUX}}
    mac = wheel("built-1-cp312-cp312-macosx_11_0_arm64.whl", OTHER)
    node = [
        entry("setuptools"), entry("torch"), entry("needed"), entry("built", wheels=[mac], sdist=sdist),
        entry("nvidia-part", marker="sys_platform == 'linux'"), entry("colours", marker="sys_platform == 'win32'"),
        entry("old", marker="python_full_version < '3.12'"),
    ]  # fmt: skip
    everything = pins.read_lock({"packages": [*node, entry("tester")]})
    constraints = "setuptools==1\nneeded==1\nbuilt==1\ntester==1\nold==1\n"
    lists = pins.sorted_out(pins.read_lock({"packages": node}), everything, constraints)
    assert {name: [package.name for package in packages] for name, packages in lists.items()} == {
        "build": ["setuptools"], "compiled": ["built"], "node": ["needed", "old"], "torch": ["torch"],
        "test": ["tester"], "accelerator": ["nvidia-part"],
    }  # fmt: skip
    assert everything["built"].lines() == f"built==1 \\\n    --hash=sha256:{LINUX}"
    assert everything["old"].lines().startswith("old==1 ; python_full_version < '3.12' \\\n")


def test_builds_for_processors_are_read_off_an_indexs_page() -> None:
    page = f"""
        <a href="/whl/cpu/torch-2.0%2Bcpu-cp312-cp312-manylinux_2_28_x86_64.whl#sha256={LINUX}">x</a>
        <a href="/whl/cpu/torch-2.0%2Bcpu-cp312-cp312-win_amd64.whl#sha256={OTHER}">x</a>
        <a href="/whl/cpu/torch-2.1%2Bcpu-cp312-cp312-manylinux_2_28_x86_64.whl#sha256={OTHER}">x</a>"""
    assert pins.cpu_builds(page, "2.0") == [f"{LINUX}  torch-2.0+cpu-cp312-cp312-manylinux_2_28_x86_64.whl"]


def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **answers: object) -> None:
    """A uv that answers as pip-audit would, by the name of the database it was asked to use."""
    for name, answer in answers.items():
        (tmp_path / f"{name}.json").write_text(
            answer if isinstance(answer, str) else json.dumps({"dependencies": answer})
        )
    program = tmp_path / "uv"
    program.write_text(
        f'#!/bin/sh\nwhile [ "$1" != --vulnerability-service ]; do shift; done\ncat {tmp_path}/$2.json\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_advisories_are_told_and_what_nobody_answered_for_is_not_called_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pins, "PINNED", tmp_path)
    monkeypatch.setattr(pins, "ABOUT", {"node": ""})
    (tmp_path / "node.txt").write_text("# list\ngood==1 \\\n    --hash=sha256:00\nbad==2 \\\n    --hash=sha256:00\n")
    good, known = {"name": "good", "version": "1", "vulns": []}, {"id": "PYSEC-1", "fix_versions": ["3"]}
    bad, skipped = {"name": "bad", "version": "2", "vulns": [known]}, {"name": "bad", "skip_reason": "not found"}
    answering(tmp_path, monkeypatch, pypi=[good, skipped], osv=[bad])
    assert pins.advisories() == 1
    assert capsys.readouterr().out == "bad 2: PYSEC-1, mended in 3\n2 pins: 2 checked, 1 known advisories\n"
    answering(tmp_path, monkeypatch, pypi=[good, skipped], osv="no connection")
    assert pins.advisories() == 2
    assert "2 pins: 1 checked, 0 known advisories\nnot checked" in capsys.readouterr().out
    answering(tmp_path, monkeypatch, pypi=[good, {**bad, "vulns": []}])
    assert pins.advisories() == 0
