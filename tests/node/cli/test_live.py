"""The commands of a live test, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node.app.researched import asked_for
from node.cli.main import main
from node.live.folder import read_folder
from node.objective.catalog import CatalogError
from node.platform.home import Home


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def data(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    code, out, err = run(capsys, "live", *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_from_a_new_folder_to_an_approval_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "garden")
    assert "Nobody sees anything of it" in run(capsys, "objective", "new", "live", folder)[1]
    sha256 = read_folder(Path(folder)).variants["control"].sha256
    code, _, says = run(capsys, "live", "approve", folder, "control")
    assert (code, "a person approves what they saw: give --sha256" in says) == (2, True)
    assert data(capsys, "approve", folder, "control", "--sha256", sha256[:12])["approved"] == "control"
    states = {row["name"]: row["state"] for row in data(capsys, "status", folder)["variants"]}
    assert states == {"control": "in traffic", "benefit-first": "waits for approval", "one-step": "waits for approval"}
    assert "Subscribe" in data(capsys, "show", folder, "control")["text"]
    assert data(capsys, "withdraw", folder, "control") == {"withdrawn": "control"}
    assert "never re-run, never adopted unasked" in run(capsys, "live", "status", folder)[1]


def test_a_map_and_what_peers_may_have_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "garden")
    run(capsys, "objective", "new", "live", folder)
    assert len(data(capsys, "export", folder)["untried"]) >= 25
    assert "never tried: " in run(capsys, "live", "export", folder)[1]
    assert "peers are given nothing" in run(capsys, "live", "export", folder, "--for-peers")[2]


def test_a_folder_that_is_none_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, says = run(capsys, "live", "status", str(tmp_path))
    assert code == 2
    assert "objective new live" in says
    folder = str(tmp_path / "garden")
    run(capsys, "objective", "new", "live", folder)
    assert "is a live test" in run(capsys, "objective", "check", folder)[2]
    with pytest.raises(CatalogError, match="is a live test, which people meet"):
        asked_for(folder, Home(tmp_path), None)
