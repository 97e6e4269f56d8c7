"""The live view: what a frame shows of real records, whatever their texts and the terminal's size, and how it ends."""

from __future__ import annotations

import fcntl
import json
import math
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from node.cli.main import main
from node.platform.home import Home
from node.proposers.spending import Amount, Caps, Prices, Spending
from node.view.terminal import watch as watch_module
from node.view.terminal.watch import Watcher
from node.view.terminal.watch_frame import chart, frame
from protocol.records import Effect
from tests.node.records_for_tests import audit, checked, experiment, replication
from tests.node.view.conftest import Swarm

EVIL = "\x1b]0;gone\x07\x1b[2J[red]a[/red]\nb\r\x9b31m\u202e 宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽"
RUN = {
    "source": "ab" * 32, "phase": "train", "share": 0.5, "seconds": 6.0, "loss": 3.25,
    "curve": [[0.1, 5.5], [0.3, 4.0], [0.5, 3.25]],
}  # fmt: skip
DOING: dict[str, Any] = {
    "doing": "research", "resting": None, "title": "Rotary positions", "run": RUN, "compute_class": "laptop-cpu",
    "reach": "direct", "peers": [{"peer": "a", "compute_class": "cpu"}, {"peer": "b", "compute_class": "cpu"}],
}  # fmt: skip


def shown(home: Path, width: int = 80, height: int = 24, **now: Any) -> str:
    """A frame of the home; with `now`, as if a node ran there and said so."""
    seen = Watcher(Home(home)).read()
    return frame(seen | ({"now": now} if now else {}), width, height, "12:00:00").plain


def confirm(swarm: Swarm) -> None:
    """Alice's claim gets three reports by peers that she has checked, and she runs one of them again."""
    claim = swarm.authors["alice"].records[0]
    names = ("carol", "dave", "erin")
    signed = {name: len(author.records) for name, author in swarm.authors.items()}
    checked(swarm.authors["alice"].write, *(swarm.authors[name] for name in names))
    for name, author in swarm.authors.items():
        for record in author.records[signed[name] :]:
            swarm.ledger.add(record, "peer")
    reports = [swarm.write(name, replication(claim, by=swarm.authors[name].identity)) for name in names]
    swarm.write("alice", audit(reports[0]))


# ---- a frame --------------------------------------------------------------------------------------------------------


def test_a_discovery_is_shown_with_what_was_found_beside_what_was_claimed(swarm: Swarm) -> None:
    lines = shown(swarm.home).splitlines()
    heading = next(line for line in lines if "newest discoveries" in line)
    (line,) = [line for line in lines if "Smaller initial" in line]
    assert line.index("+17.3 ±0.8 (2)?") == heading.index("others found %"), "which she has not checked"
    assert line.index("+18.1 ±0.8 (2)") == heading.index("claimed %")
    assert line.endswith("open, 3 to go")
    assert "you" in line  # it is alice's home


def test_the_newest_discovery_comes_first_and_a_confirmed_one_says_so(swarm: Swarm) -> None:
    confirm(swarm)
    swarm.write("bob", experiment("Newest of all", child=swarm.parent))
    lines = [line for line in shown(swarm.home).splitlines() if line.startswith(("  Newest", "  Smaller"))]
    assert [line.split()[0] for line in lines] == ["Newest", "Smaller"]
    assert lines[1].rstrip().endswith("confirmed")
    assert "3 discoveries (1 confirmed, 2 open)" in shown(swarm.home)


def test_the_run_under_way_is_shown_with_its_bar_its_unjudged_loss_and_its_curve(swarm: Swarm) -> None:
    text = shown(swarm.home, **DOING)
    assert "research  Rotary positions" in text
    assert "50 %  training, 6 s  loss 3.25, unjudged" in text
    bar, curve = next((a, b) for a, b in zip(text.splitlines(), text.splitlines()[1:], strict=False) if "━" in a)
    assert bar.count("━") == 36
    assert curve.startswith("█")
    assert curve.index("▁") <= 18 < curve.index("5.5 → 3.25")  # it ends where the run is
    tall = shown(swarm.home, 80, 60, **DOING)
    assert len(tall.splitlines()) > len(text.splitlines())


def test_peers_are_counted_by_class_and_a_pause_is_explained(swarm: Swarm) -> None:
    text = shown(swarm.home, **DOING | {"doing": "paused: on battery", "resting": "on battery"})
    assert "peers      2  cpu 2 · direct" in text
    assert "paused: on battery" in text


def test_what_waits_to_be_re_run_and_what_models_cost_is_shown(swarm: Swarm) -> None:
    assert "to re-run  1  <img" in shown(swarm.home)
    assert "models" not in shown(swarm.home)
    caps = Caps(Amount(10**6, 9.0), Amount(10**6, 9.0))
    reservation = Spending(swarm.ledger.settings, caps, lambda: 0.0).reserve(Prices(2.0, 2.0).of(12_000, 345))
    assert not isinstance(reservation, str)
    assert "models     12,345 tokens, cost 0.02; within the last hour 0, 0.00" in shown(swarm.home)


def test_the_best_of_a_class_falls_step_by_step_and_leaves_out_what_is_refuted(swarm: Swarm) -> None:
    seen = Watcher(Home(swarm.home)).read()
    (cpu,) = seen["classes"]
    assert (cpu["class"], cpu["nodes"], cpu["values"][0]) == ("cpu", 2, 3.5)
    assert cpu["values"][1:] == [pytest.approx(3.5 * math.exp(-0.2), abs=1e-5)]  # by its gain, as everywhere
    assert "3.5 → 2.87" in shown(swarm.home)


def test_a_node_that_runs_another_scale_says_so(swarm: Swarm) -> None:
    (here, *_) = shown(swarm.home, width=140, **DOING | {"scale": "cpu (131,072 tokens)"}).splitlines()
    assert "laptop-cpu · scale cpu (131,072 tokens)" in here
    assert "scale" not in shown(swarm.home, width=140, **DOING).splitlines()[0]


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 2), (20, 5), (40, 12), (65, 20), (80, 24), (139, 9), (240, 80)])
def test_a_frame_never_leaves_its_terminal_whatever_peers_wrote(swarm: Swarm, size: tuple[int, int]) -> None:
    swarm.write("bob", experiment("宽" * 100, child=swarm.parent, effect=Effect(90.0, 5.0, 16)))
    now = DOING | {"title": EVIL, "compute_class": EVIL, "peers": [{"peer": EVIL, "compute_class": EVIL}]}
    seen = Watcher(Home(swarm.home)).read() | {"now": now, "waiting_titles": [EVIL] * 10}
    seen["discoveries"][1] |= {"title": EVIL, "category": EVIL}
    text = frame(seen, *size, "12:00:00").plain
    lines = text.split("\n")
    assert len(lines) <= size[1]
    assert max(map(cell_len, lines)) <= size[0]
    assert all(character.isprintable() for line in lines for character in line)
    if size == (80, 24):
        assert "[red]a[/red] b" in text  # markup of peers means nothing


def test_a_chart_is_as_high_as_its_values() -> None:
    assert chart([0, 1, 2, 3], 1) == ["▁▃▆█"]
    assert chart([5, 5], 1) == ["▁▁"]
    assert chart([0, 3], 2) == [" █", "▁█"]


# ---- looking --------------------------------------------------------------------------------------------------------


def test_without_a_node_it_waits_and_says_so_and_takes_up_what_comes(tmp_path: Path) -> None:
    watcher = Watcher(Home(tmp_path / "home"))
    text = frame(watcher.read(), 80, 24, "12:00:00").plain
    assert "no node runs here; waiting" in text
    assert "there is no ledger" in text
    swarm = Swarm(tmp_path / "home")
    swarm.write("bob", experiment("First of all"))
    assert "First of all" in frame(watcher.read(), 80, 24, "12:00:00").plain


def test_what_arrives_while_watching_is_marked(swarm: Swarm) -> None:
    watcher = Watcher(Home(swarm.home))
    watcher.read()
    swarm.write("bob", experiment("Just now", child=swarm.parent))
    watcher._due = 0.0  # it has rested
    lines = frame(watcher.read(), 80, 24, "12:00:00").plain.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("•")] == ["Just"]


def test_projections_are_worked_out_only_when_records_came_and_never_all_the_time(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    projected = []
    real = watch_module.watch_model
    monkeypatch.setattr(watch_module, "watch_model", lambda ledger: projected.append(1) or real(ledger))
    watcher = Watcher(Home(swarm.home))
    for _ in range(5):
        watcher.read()
    assert len(projected) == 1
    swarm.write("bob", experiment("One more", child=swarm.parent))
    watcher._due = float("inf")
    assert watcher.read()["records"] == 4
    watcher._due = 0.0
    assert watcher.read()["records"] == 5


def test_a_restarted_node_and_a_new_ledger_are_taken_up(swarm: Swarm) -> None:
    home = Home(swarm.home)
    watcher = Watcher(home)
    with home.locked():
        home.write_status(DOING)
        assert watcher.read()["now"]["title"] == "Rotary positions"
    assert watcher.read()["now"] is None
    for name in ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"):
        (swarm.home / name).rename(swarm.home / f"old-{name}")
    other = Swarm(swarm.home)
    other.write("bob", experiment("In the new one"))
    assert [one["title"] for one in watcher.read()["discoveries"]] == ["In the new one"]


# ---- the command ----------------------------------------------------------------------------------------------------


def test_where_there_is_no_terminal_it_shows_one_frame_or_the_data(
    swarm: Swarm, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main(["watch", "--home", str(swarm.home), *options])
        assert not ended.value.code
    text = capsys.readouterr().out
    assert "Smaller initialisation" in text.partition("{")[0]
    assert json.loads(text[text.index("{") :])["standings"] == {"confirmed": 0, "open": 2, "refuted": 0}


def read_until(terminal: int, awaited: bytes) -> bytes:
    output = b""
    while awaited not in output:
        assert select.select([terminal], [], [], 60)[0], f"nothing more after {output!r}"
        output += os.read(terminal, 4096)
    return output


@pytest.mark.parametrize("way", ["q", "Ctrl-C"])
def test_on_a_terminal_it_stays_until_it_is_ended_and_leaves_the_terminal_as_it_was(swarm: Swarm, way: str) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    command = [sys.executable, "-m", "node", "watch", "--home", str(swarm.home)]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "TERM": "xterm-256color"}
    )
    output = read_until(ours, b"Smaller init")
    assert termios.tcgetattr(theirs)[3] & termios.ECHO == 0
    if way == "q":
        os.write(ours, b"q")
    else:
        process.send_signal(signal.SIGINT)
    output += read_until(ours, b"\x1b[?1049l")
    assert process.wait(30) == 0
    assert output.index(b"\x1b[?1049h") < output.index(b"Smaller init")
    assert b"\x1b[?25h" in output
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
