"""The log: what is written, what is never written, how it reads, and that it does not stop the node."""

from __future__ import annotations

import itertools
import json
import os
import pty
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.platform import log as log_module
from node.platform.log import LogFile, clean, open_log, read_log, render_line, saying_who_measured


def events(home: Path) -> list[dict[str, Any]]:
    return list(read_log(home, follow=False))


def rendered(**event: Any) -> str:
    return render_line({"time": "2026-11-21T14:03:22.000Z", "level": "info", **event}, colour=False)[10:]


# ---- the file -------------------------------------------------------------------------------------------------------


def test_an_event_is_one_json_line_with_time_level_and_details(tmp_path: Path) -> None:
    open_log(tmp_path, "info", console=False).info("kept", title="Kaiming", gain="+21.2 % ± 0.7", pairs=2, share=0.5)
    (line,) = (tmp_path / "node.log.jsonl").read_text().splitlines()
    event = json.loads(line)
    assert list(event)[:3] == ["time", "level", "event"]
    assert event["time"].endswith("Z")
    assert {k: event[k] for k in ("level", "event", "title", "gain", "pairs", "share")} == {
        "level": "info", "event": "kept", "title": "Kaiming", "gain": "+21.2 % ± 0.7", "pairs": 2, "share": 0.5,
    }  # fmt: skip
    assert (tmp_path / "node.log.jsonl").stat().st_mode & 0o777 == 0o600


def test_every_event_with_a_figure_says_who_measured_it(tmp_path: Path) -> None:
    told: list[tuple[str, dict[str, Any]]] = []

    def keep(event: str, **details: Any) -> None:
        told.append((event, details))

    log = saying_who_measured(keep, "self-measured")
    log("kept", title="Kaiming", gain="+21.2 % ± 0.7")
    log("hypothesis", title="Kaiming")
    assert told[0][1] == {"title": "Kaiming", "gain": "+21.2 % ± 0.7", "measured": "self-measured"}
    assert told[1][1] == {"title": "Kaiming"}
    assert rendered(event="kept", **told[0][1]).split("  ")[-2:] == ["+21.2 % ± 0.7", "self-measured"]


def test_only_events_of_the_level_asked_for_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = open_log(tmp_path, "warning")
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)(f"a {level}")
    assert [event["event"] for event in events(tmp_path)] == ["a warning", "a error"]
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_secrets_are_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("key", "secret", "token", "password", "api_key", "seed32", "Access-Token", "private_key")
    log = open_log(tmp_path, "info")
    log.info("started", tokens=524288, seed=3, nested={"api_key": "hush", "kept": 1}, **dict.fromkeys(names, "hush"))
    assert "hush" not in (tmp_path / "node.log.jsonl").read_text() + capsys.readouterr().out
    (event,) = events(tmp_path)
    assert (event["tokens"], event["seed"], event["nested"]) == (524288, 3, {"kept": 1})


def test_bytes_are_shortened_to_their_start(tmp_path: Path) -> None:
    open_log(tmp_path, "info", console=False).info("blob", id=b"\x01" * 32, short=b"\xff\x00")
    (event,) = events(tmp_path)
    assert (event["id"], event["short"]) == ("0101010101010101…", "ff00")


def test_whatever_the_details_are_the_line_is_json(tmp_path: Path) -> None:
    log = open_log(tmp_path, "info", console=False)
    loop: list[object] = []
    loop.append(loop)
    log.info("odd", inf=float("inf"), path=tmp_path, error=OSError("x"), loop=loop, lone="\ud800", time="mine")
    log.info("long", items=list(range(1000)), text="x" * 10_000)
    odd, long = events(tmp_path)
    assert odd["inf"] == "inf"
    assert odd["time"] != "mine"
    assert len(long["items"]) == log_module.MAX_ITEMS
    assert len(long["text"]) == log_module.MAX_TEXT
    for line in (tmp_path / "node.log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(name))


def test_a_log_that_grew_large_is_set_aside_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "MAX_FILE_BYTES", 2000)
    log = open_log(tmp_path, "info", console=False)
    for number in range(100):
        log.info("event", number=number)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["node.log.jsonl", "node.log.jsonl.1"]
    assert max(p.stat().st_size for p in tmp_path.iterdir()) <= 2000
    numbers = [event["number"] for event in events(tmp_path)]
    assert numbers == list(range(numbers[0], 100))


def test_a_line_torn_by_a_crash_is_left_out_and_the_next_one_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "node.log.jsonl"
    path.write_text('{"event": "first"}\n[1]\n{"event": "to')
    assert [event["event"] for event in events(tmp_path)] == ["first"]
    open_log(tmp_path, "info", console=False).info("after")
    assert [event["event"] for event in events(tmp_path)] == ["first", "after"]


def test_a_full_disk_costs_lines_and_their_number_is_written_later(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "node.log.jsonl")
    file.append({"event": "before"})
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, limit[1]))  # the system then refuses writes as a full disk does
    try:
        file.append({"event": "lost in part"})
        file.append({"event": "lost"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    file.append({"event": "after"})
    told = events(tmp_path)
    assert [event["event"] for event in told] == ["before", "log lines lost", "after"]
    assert told[1]["count"] == 2


def test_a_log_that_cannot_be_opened_or_printed_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(tmp_path / "gone", "info")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", errors="ignore") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        log.info("nobody hears this")
        monkeypatch.undo()
        with pytest.raises(BrokenPipeError):
            closed.close()


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    log = open_log(tmp_path, "info", console=False)
    threads = [threading.Thread(target=lambda: [log.info("x" * 300) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(events(tmp_path)) == 200


def test_a_log_that_another_program_moved_removed_or_emptied_goes_on_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "node.log.jsonl"
    log = open_log(tmp_path, "info", console=False)
    log.info("one")
    path.rename(tmp_path / "moved")
    log.info("two")
    path.unlink()
    log.info("three")
    assert [event["event"] for event in events(tmp_path)] == ["three"]
    path.write_text("")
    log.info("four")
    assert [event["event"] for event in events(tmp_path)] == ["four"]


def test_tail_follows_the_log_by_name_over_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(tmp_path, "info", console=False)
    log.info("event", number=0)
    command = ["tail", "-F", "-n", "+1", str(tmp_path / "node.log.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tail:
        assert tail.stdout is not None
        try:
            assert json.loads(tail.stdout.readline())["number"] == 0
            for number in range(1, 4):
                monkeypatch.setattr(log_module, "MAX_FILE_BYTES", 1)  # every line in a file of its own
                log.info("event", number=number)
                assert json.loads(tail.stdout.readline())["number"] == number
        finally:
            tail.kill()


# ---- reading --------------------------------------------------------------------------------------------------------


def test_a_home_without_a_log_has_no_events(tmp_path: Path) -> None:
    assert events(tmp_path) == []


def test_following_goes_on_through_new_lines_and_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "FOLLOW_SECONDS", 0.001)
    path = tmp_path / "node.log.jsonl"
    told: Iterator[dict[str, Any]] = read_log(tmp_path, follow=True)
    late = threading.Timer(0.05, lambda: path.write_text('{"event": "one"}\n'))
    late.start()
    assert next(told)["event"] == "one"
    with path.open("a") as file:
        file.write('{"event": "tw')
        file.flush()
        threading.Timer(0.05, lambda: (file.write('o"}\n{"event": "three"}\n'), file.flush())).start()
        assert [event["event"] for event in itertools.islice(told, 2)] == ["two", "three"]
    path.rename(tmp_path / "node.log.jsonl.1")
    path.write_text('{"event": "four"}\n')
    assert next(told)["event"] == "four"


def test_nothing_is_missed_when_the_log_is_set_aside_while_it_is_read(tmp_path: Path) -> None:
    path, older = tmp_path / "node.log.jsonl", tmp_path / "node.log.jsonl.1"
    older.write_text('{"event": "one"}\n')
    path.write_text('{"event": "two"}\n')
    told = read_log(tmp_path, follow=False)
    assert next(told)["event"] == "one"
    path.rename(older)
    path.write_text('{"event": "three"}\n')
    assert [event["event"] for event in told] == ["two"]  # what was there when reading began


def test_following_goes_on_in_a_file_that_was_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "FOLLOW_SECONDS", 0.001)
    path = tmp_path / "node.log.jsonl"
    path.write_text('{"event": "one", "why": "a long line"}\n')
    told = read_log(tmp_path, follow=True)
    assert next(told)["event"] == "one"
    path.write_text('{"event": "two"}\n')
    assert next(told)["event"] == "two"


# ---- for people -----------------------------------------------------------------------------------------------------


def test_a_line_shows_first_what_a_person_wants_to_see() -> None:
    line = rendered(
        event="discovery received", record="1f2e", compute_class="cpu", peer="q8f3Kqdx",
        claimed="-21.2 % ± 0.7 (2 pairs)", title="Kaiming initialisation",
    )  # fmt: skip
    assert line == (
        "discovery received    Kaiming initialisation  claimed -21.2 % ± 0.7 (2 pairs)  from …q8f3Kqdx  cpu"
        "  record=1f2e"
    )
    peer_id = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
    assert rendered(event="peer connected", peer=peer_id) == "peer connected        …eQAJU5SA"
    assert rendered(event="adopted", title="A", holdout=None, note="with spaces", n=3, ok=True) == (
        'adopted               A  note="with spaces" n=3 ok=true'
    )


def test_a_warning_shows_without_colours_too() -> None:
    line = render_line({"time": "bad", "level": "warning", "event": "source not kept", "why": "full"}, colour=False)
    assert line == "--:--:-- !source not kept       full"


def test_a_runs_last_output_follows_on_lines_that_cannot_pass_for_events() -> None:
    tail = "Traceback\n14:03:22  kept  forged\nValueError: \x1b[2Jno"
    lines = rendered(event="run failed", title="X", log_tail=tail).splitlines()
    assert lines[0] == "run failed            X"
    assert all(line.startswith("          | ") for line in lines[1:])
    assert lines[-1] == "          | ValueError: no"


def test_a_peers_text_cannot_move_the_cursor_forge_a_line_or_turn_the_writing() -> None:
    evil = "\x1b]0;title\x07a\x1b[31mb\nc\rd\x9b2Je\u202ef\tg\x00\x1b[999Dh"
    assert clean(evil) == "ab\ncdef gh"
    assert rendered(event="discovery received", title=evil) == "discovery received    ab cdef gh"
    colours = render_line({"event": evil, "level": evil, "time": evil, evil: evil, "peer": [evil]}, colour=False)
    assert "\x1b" not in colours
    assert "\n" not in colours


def test_a_long_text_is_cut_at_its_end_and_a_last_output_at_its_start() -> None:
    assert clean("a" * 501) == "a" * 499 + "…"
    assert clean("a" * 600 + "b", end=True) == "…" + "a" * 498 + "b"
    assert clean("a" * 500) == "a" * 500


def test_colours_only_wrap_the_same_text() -> None:
    event = {"event": "kept", "title": "T", "record": "ab", "level": "info"}
    coloured = render_line(event, colour=True)
    assert "\x1b[32mkept\x1b[0m" in coloured
    assert clean(coloured) == render_line(event, colour=False)


# ---- on a terminal --------------------------------------------------------------------------------------------------

SESSION = """
import sys
from pathlib import Path
from types import SimpleNamespace
from node.platform.log import open_log
from node.view.terminal.run_bar import RunBar
log = open_log(Path(sys.argv[1]), "info")
with RunBar() as view:
    state = SimpleNamespace(share=0.25, loss=3.2, seconds=4.0, phase="train")
    view.show("Kaiming [b]initialisation", state)
    log.info("discovery received", title="Other")
    view.clear()
    log.info("result", title="Kaiming")
"""


def on_a_terminal(program: str, *arguments: str) -> str:
    """What a program prints on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=theirs, env=environment)
    os.close(theirs)
    output = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        while True:
            try:
                output += terminal.read(4096)
            except OSError:  # the other end is closed
                break
    assert process.wait(30) == 0
    return output.decode()


def test_the_bar_shows_phase_share_unjudged_loss_and_time_left_below_the_log(tmp_path: Path) -> None:
    output = on_a_terminal(SESSION, str(tmp_path))
    before, heard, after = output.partition("discovery received")
    assert heard
    for shown in ("Kaiming [b]initialisation", "25%", "training  12 s left  loss 3.20, unjudged"):
        assert shown in before
        assert shown in after  # drawn again below the line
    last = output.rpartition("\x1b[2K")[2]  # the bar is taken away before the next line
    assert "result" in last
    assert "Kaiming [b]" not in last


def test_where_output_is_no_terminal_there_is_no_bar_and_no_colour(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SESSION, str(tmp_path)], capture_output=True, text=True, check=True)
    assert [line[10:] for line in done.stdout.splitlines()] == [
        "discovery received    Other",
        "result                Kaiming",
    ]


def test_a_detail_without_a_value_is_left_out_of_the_line() -> None:
    event = {
        "event": "peer connected",
        "peer": "12D3KooWabcdefgh",
        "address": "",
        "count": 0,
        "names": [],
        "hint": None,
    }
    assert render_line(event, colour=False).split("  ")[-1] == "count=0"
