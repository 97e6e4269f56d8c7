"""The check-up behind `peer check`, by the command: what a person sees, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from node.cli.main import main
from node.platform.home import Home
from protocol.objective import Invite, encode_invite
from tests.node.json_forms_for_tests import hold
from tests.node.network.conftest import Start
from tests.node.records_for_tests import OBJECTIVE

DEAD = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWR2C1QxT2Xs54rBh5cVL2tuYGcJCeVfENnHEiV5grsjAt"


def asked(home: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["peer", "check", "--home", str(home), *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.sockets
async def test_one_address_of_an_invite_that_works_is_enough(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = b"k" * 32
    async with start("a", swarm_key=key) as a:
        invite = encode_invite(Invite(OBJECTIVE, (DEAD, a.address), key))
        assert await trio.to_thread.run_sync(asked, tmp_path / "home", invite) == 0
        shown = capsys.readouterr().out
        assert "  refused: the machine answers, but nothing listens at this port" in shown
        assert f"  objective   {OBJECTIVE.hex()[:16]}\n  ok\n" in shown
        assert await trio.to_thread.run_sync(asked, tmp_path / "home", "--json", a.address) == 1
        told = json.loads(capsys.readouterr().out)
    hold("peer check", told)
    assert told["ok"] is False
    assert told["addresses"][0]["fault"] == "private swarm"
    assert told["reach_of_this_node"] == "not known: no node runs in this home"
    assert not (tmp_path / "home").exists()


@pytest.mark.sockets
async def test_an_address_is_checked_with_the_key_of_the_home(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "home")
    home.make()
    home.keep_swarm_key(None, b"k" * 32)
    async with start("a", swarm_key=b"k" * 32) as a:
        assert await trio.to_thread.run_sync(asked, home.root, a.address) == 0


def test_what_is_neither_address_nor_invite_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, why in (
        ("192.0.2.1:4001", "neither an address"),
        ("ar1xyz", "damaged or cut short"),
        (encode_invite(Invite(OBJECTIVE, ())), "names no address"),
    ):
        assert asked(tmp_path / "home", text) == 2
        assert why in capsys.readouterr().err
