"""The door: an objective that asks for more than this host gives is refused before anything of it is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from node.app.joining import _both_named, close_swarm
from node.app.researched import asked_for
from node.cli.main import main
from node.ledger.files import BlobFiles
from node.ledger.store import Ledger
from node.network import Settings, open_network
from node.objective.load import load_objective
from node.platform.home import Home
from protocol.objective import Invite, encode_invite
from tests.node.execution.small_objective import copy_in_files
from tests.node.network.conftest import LOOPBACK, Log, identity_of

Join = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Join:
    """Join in a home whose data quota is 100 MiB; returns what the person who asked is told."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "swarm.toml").write_text("[limits]\ndata_quota_mb = 100\n")

    def join(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["join", "--home", str(home), "--no-dashboard", *arguments])
        assert ended.value.code == 2
        return capsys.readouterr().err

    return join


def greedy(folder: Path) -> Path:
    """Three data files of 500 MB; whoever runs its prepare.py leaves a trace."""
    root = copy_in_files(folder, size=500_000_000)
    (root / "prepare.py").write_text(f"open({str(folder / 'trace')!r}, 'w')\n")
    return root


def logged(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "node.log.jsonl").read_text().splitlines()]


def test_a_folders_objective_is_refused_before_the_home_has_anything_of_it(tmp_path: Path, refused: Join) -> None:
    text = refused("--objective", str(greedy(tmp_path)))
    assert "the sum of data.size in objective.toml is 1500.0 MB, the most here is 104.9 MB" in text
    assert "raise [limits] data_quota_mb in swarm.toml" in text
    assert not list(tmp_path.rglob("trace"))
    assert not list((tmp_path / "home").glob("ledger*"))


def test_what_is_no_invite_is_said_whether_or_not_a_node_runs_here(tmp_path: Path, refused: Join) -> None:
    assert "this is not an invite" in refused("notaninvite")
    with Home(tmp_path / "home").locked():
        assert "this is not an invite" in refused("notaninvite")
        assert "another node is running" in refused()


def test_an_invite_and_another_objective_are_refused(tmp_path: Path, refused: Join) -> None:
    root = copy_in_files(tmp_path)
    invite = encode_invite(Invite(bytes(32), ("/ip4/127.0.0.1/tcp/9/p2p/x",)))
    text = refused(invite, "--objective", str(root))
    assert f"the invite is for the objective 0000000000, and --objective {root} is another one, in files" in text
    assert not list((tmp_path / "home").glob("ledger*"))
    same = _both_named(Invite(load_objective(root, root).id, ()), asked_for(str(root), Home(tmp_path), None), str(root))
    assert same.folder == str(root)


def test_an_embedded_objective_is_held_to_the_limits_too(tmp_path: Path, refused: Join) -> None:
    (tmp_path / "home" / "swarm.toml").write_text("[limits]\nobjective_memory_mb = 1000\n")
    assert "budget.memory_mb in objective.toml is 3000, the most here is 1000" in refused()


def test_data_that_are_not_shared_begin_a_private_swarm_once(tmp_path: Path) -> None:
    root = copy_in_files(tmp_path, size=1000)
    settings = (root / "objective.toml").read_text()
    open_to_all = load_objective(root, root)
    (root / "objective.toml").write_text(settings.replace("[[data]]\n", "[[data]]\nshared = false\n"))
    closed = load_objective(root, root)
    home, log = Home(tmp_path / "home"), Log()
    home.make()
    close_swarm(open_to_all, home, log)
    assert home.swarm_key(open_to_all.id) is None
    close_swarm(closed, home, log)
    key = home.swarm_key(closed.id)
    assert key is not None
    close_swarm(closed, home, log)
    assert home.swarm_key(closed.id) == key
    assert len(log.of("private swarm")) == 1
    invited = Home(tmp_path / "invited")
    invited.make()
    invited.keep_invite(closed.id, "an invite without a key")
    close_swarm(closed, invited, log)
    assert invited.swarm_key(closed.id) is None


@pytest.mark.sockets
async def test_an_invited_objective_is_shown_and_refused_before_its_data_are_asked_for(
    tmp_path: Path, refused: Join
) -> None:
    root = greedy(tmp_path)
    objective = load_objective(root, root)
    ledger = Ledger.open(tmp_path / "a.sqlite", objective.id)
    files = BlobFiles(tmp_path / "blobs", 1 << 20)
    try:
        for content in (objective.manifest_bytes, *objective.files.values()):
            ledger.put_blob(content)
        async with open_network(identity_of("a"), ledger, Settings(LOOPBACK, []), Log(), files) as network:
            invite = encode_invite(Invite(objective.id, tuple(network.addresses())))
            text = await trio.to_thread.run_sync(refused, invite)
    finally:
        ledger.close()
    assert "raise [limits] data_quota_mb in swarm.toml" in text
    (received,) = [line for line in logged(tmp_path / "home") if line["event"] == "objective received"]
    asked = {name: received[name] for name in ("memory_mb", "wall_seconds", "threads", "data_mb")}
    assert asked == {"memory_mb": 2000, "wall_seconds": 120.0, "threads": 1, "data_mb": 1500.0}
    assert not list(tmp_path.rglob("trace"))
    assert not list((tmp_path / "home").rglob("invite"))
