"""What an objective is made from is fetched when a person agrees, fixed by its maker once, and then the same for all.

Real servers on loopback, a real sandbox for prepare.py, and a real node that joins.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import trio

from node.app.objective_data import provide_data
from node.cli.main import main
from node.execution.sandbox.layers import Layers, probe
from node.network.content import download
from node.network.downloads.store import DownloadStore
from node.objective.load import complaints, load_objective, write_objective
from node.objective.schema import ObjectiveError
from node.platform.home import Home
from tests.node.app.test_objective_data import Place
from tests.node.execution.small_objective import ENOUGH, TOKENS, copy_in_files
from tests.node.network.downloads.file_server import FileServer, Served, file_server

pytestmark = [pytest.mark.sockets, pytest.mark.sandbox]
TEXT = b"".join(b"%d+%d=%d\n" % (n % 97, n % 7, n % 97 + n % 7) for n in range(45_000))
DATA = {"train": TEXT[:200_000], "val": TEXT[200_000:232_768], "holdout": TEXT[240_000:272_768]}
PREPARE = """
import sys
from pathlib import Path

out, *words = sys.argv[1:]
downloaded = dict(word.split("=", 1) for word in words)
assert list(downloaded) == ["first", "second"], downloaded
text = Path(downloaded["first"]).read_bytes() + Path(downloaded["second"]).read_bytes()
for name, begin, size in (("train", 0, 200_000), ("val", 200_000, 32_768), ("holdout", 240_000, 32_768)):
    (Path(out) / f"{name}.bin").write_bytes(text[begin : begin + size])
"""


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


def objective(folder: Path, server: FileServer, fixed: bool = False) -> Path:
    """An objective whose data are made from two files of the server. fixed: with their sizes and sums."""
    root = copy_in_files(folder, tokens=TOKENS, wall_seconds=600)
    (root / "prepare.py").write_text(PREPARE)
    settings = (root / "objective.toml").read_text()
    settings = re.sub(r"(?m)^(sha256|size) = .*\n", "", settings)
    settings = settings.replace("checkpoints = [20, 50, 100]", "checkpoints = [20]")  # of the 24 steps of a run here
    half = len(TEXT) // 2
    for name, content in (("first", TEXT[:half]), ("second", TEXT[half:])):
        server.files[f"/{name}"] = Served(content)
        settings += f'\n[[downloads]]\nname = "{name}"\nurls = ["{server.url}/gone", "{server.url}/{name}"]\n'
        if fixed:
            settings += f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nsize = {len(content)}\n'
    for name, content in DATA.items() if fixed else ():
        sums = f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nsize = {len(content)}\n'
        settings = settings.replace(f'path = "{name}.bin"\n', f'path = "{name}.bin"\n{sums}')
    (root / "objective.toml").write_text(settings)
    return root


def ask(home: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--home", str(home)])
    return int(ended.value.code or 0)


def logged(home: Path, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (home / "node.log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


@pytest.mark.long
def test_a_maker_fixes_sums_with_one_command_and_joins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    with file_server() as server:
        root = objective(tmp_path, server)
        wrong = complaints(root)
        assert any("not fixed yet; `autoresearch-node objective prepare FOLDER` fetches" in each for each in wrong)
        monkeypatch.setattr("builtins.input", lambda question: "n")
        assert ask(home, "objective", "prepare", str(root)) == 1
        shown = capsys.readouterr().out
        assert f"first, of a size that is not known yet, from {server.url.removeprefix('http://')}" in shown
        assert "what comes now is taken as right" in shown
        assert server.requests == []

        monkeypatch.setattr("builtins.input", lambda question: "yes")
        assert ask(home, "objective", "check", "--fix", "--quick", str(root)) == 1
        capsys.readouterr()
        assert ask(home, "objective", "prepare", str(root)) == 0
        assert f"next: autoresearch-node objective check --fix {root}" in capsys.readouterr().out
        assert [line["title"] for line in logged(home, "downloaded")] == ["first", "second"]
        assert [line["title"] for line in logged(home, "download trusted")] == ["first", "second"]
        asked = len(server.requests)
        settings = (root / "objective.toml").read_text()
        assert hashlib.sha256(server.files["/second"].content).hexdigest() in settings
        capsys.readouterr()
        assert ask(home, "objective", "check", "--fix", str(root)) == 0, capsys.readouterr().out
        assert ask(home, "objective", "prepare", str(root)) == 0
        assert ask(home, "join", "--objective", str(root), "--for", "1s", "--no-dashboard") == 0
        assert len(server.requests) == asked, "nothing is fetched twice"
    (shown_before,) = logged(home, "objective")[:1]
    assert shown_before["fetches"].startswith("0 MB from 127.0.0.1:")
    made = load_objective(root, Home(home).data(load_objective(root, root).id))
    assert (made.data_dir / "train.bin").read_bytes() == TEXT[:200_000]


def test_joining_fetches_nothing_and_says_how_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    with file_server() as server:
        root = objective(tmp_path, server, fixed=True)
        assert ask(home, "join", "--objective", str(root), "--for", "1s", "--no-dashboard") == 2
        assert server.requests == []
        assert "`autoresearch-node objective prepare in files` shows from where" in capsys.readouterr().err
        server.files["/second"] = Served(TEXT)
        assert ask(home, "objective", "prepare", "--yes", str(root)) == 2
        told = capsys.readouterr().err
        assert "second could not be fetched" in told
        assert "answers with status 404" in told
        assert f"its file has {len(TEXT)} bytes" in told
        server.files["/second"] = Served(TEXT[len(TEXT) // 2 :])
        assert ask(home, "objective", "prepare", "--yes", str(root)) == 0
        assert len(server.ranges("/first")) == 1


@pytest.mark.long
async def test_peers_give_what_was_downloaded_where_they_cannot_give_the_data(
    tmp_path: Path, layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STALLED_SECONDS", 2.0)
    with file_server() as server:
        root = objective(tmp_path, server, fixed=True)
    a = Place("a", tmp_path, load_objective(root, tmp_path / "data"))
    write_objective(a.objective.files, tmp_path / "by-invite")
    b = Place("b", tmp_path, load_objective(tmp_path / "by-invite", tmp_path / "data-by-invite"))
    store_a, store_b = DownloadStore(tmp_path / "a" / "downloads"), DownloadStore(tmp_path / "b" / "downloads")
    store_a.folder.mkdir(parents=True)
    half = len(TEXT) // 2
    for each, content in zip(a.objective.downloads, (TEXT[:half], TEXT[half:]), strict=True):
        store_a.path(each.entry.sha256).write_bytes(content)
    with pytest.raises(ObjectiveError, match="are not here yet"):
        await provide_data(b.objective, layers, ENOUGH, b.files, store_b, None, b.log)
    await provide_data(a.objective, layers, ENOUGH, a.files, store_a, None, a.log)
    for data in a.objective.data:
        a.files._held.pop(data.entry.sha256)
    async with a.network()() as network:
        with trio.fail_after(60):
            await provide_data(b.objective, layers, ENOUGH, b.files, store_b, b.network(network.addresses()[0]), b.log)
    assert (b.objective.data_dir / "train.bin").read_bytes() == TEXT[:200_000]
    assert all(store_b.has(each) for each in b.objective.downloads)
