"""Sources are read in a process of its own, within limits, and the node goes on whatever they are."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import trio

from node.execution.parsing import parser as parsing
from node.execution.parsing.parser import SourceParser, TooCostlyError
from node.objective.edits import (
    AddDefinition,
    Edit,
    EditError,
    ReplaceDefinition,
    ReplaceInFile,
    ReplaceText,
    SetConstant,
    apply,
    fingerprint,
)
from node.objective.trees import MAX_SOURCE_CHARACTERS, pack
from node.platform.concurrency import gather
from tests.node.execution.parsing.hostile_texts import BEARABLE, endless

SOURCE = """RATE = 1e-3  # the learning rate
DEPTH = 2
LARGE = True
WORDS = "no number"
OTHER = 1


def make(width):
    # why it is so
    return width


def step(x):
    return x + 1 + RATE
"""
LARGEST_STALL = 0.05  # seconds for which the node may do nothing else
BUSY_MACHINE = 0.5  # seconds for which a machine that runs other tests may keep it waiting


class Pulse:
    """The most that the event loop was kept from everything else: by work of its own, and in all (seconds)."""

    own, longest = 0.0, 0.0

    async def beat(self) -> None:
        worked, last = time.thread_time(), time.perf_counter()
        while True:
            await trio.sleep(0.002)
            self.own = max(self.own, time.thread_time() - worked)
            self.longest = max(self.longest, time.perf_counter() - last - 0.002)
            worked, last = time.thread_time(), time.perf_counter()


def helpers() -> list[psutil.Process]:
    """The helper processes of this process that were not reaped yet, zombies included."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_ZOMBIE or "helper.py" in " ".join(child.cmdline()):
                found.append(child)
    return found


async def test_what_a_source_is_known_by_is_what_the_pure_functions_say() -> None:
    facts = await SourceParser().facts(SOURCE)
    assert facts.error is None
    assert facts.fingerprint == fingerprint(SOURCE)
    assert [(each.name, each.value, each.line) for each in facts.numbers] == [
        ("RATE", 1e-3, 1),
        ("DEPTH", 2, 2),
        ("LARGE", True, 3),
        ("OTHER", 1, 5),
    ]


async def test_a_source_that_does_not_parse_has_the_fingerprint_of_its_text() -> None:
    facts = await SourceParser().facts("def (:\n")
    assert facts.fingerprint == fingerprint("def (:\n")
    assert "SyntaxError" in str(facts.error)
    assert not facts.too_costly


@pytest.mark.parametrize(
    "edit",
    [
        SetConstant("RATE", "2e-3"),
        ReplaceDefinition("make", "def make(width):\n    return 2 * width\n"),
        AddDefinition("MORE = 1", "make"),
        ReplaceText("step", "x + 1", "x + 2"),
    ],
)
async def test_edits_of_every_kind_are_carried_out(edit: Edit) -> None:
    assert await SourceParser().apply(SOURCE, [edit]) == apply(SOURCE, [edit])


async def test_an_edit_that_does_not_apply_says_why() -> None:
    with pytest.raises(EditError, match="0 constants named NONE"):
        await SourceParser().apply(SOURCE, [SetConstant("NONE", "1")])


async def test_two_sources_are_compared() -> None:
    parser, seeded = SourceParser(), SOURCE + "\n\nimport random\n\nrandom.seed(7)\n"
    assert await parser.compare(SOURCE, SOURCE + "# more\n") == (True, True)
    assert await parser.compare(seeded, seeded.replace("seed(7)", "seed(8)")) == (False, True)
    assert await parser.compare(SOURCE, SOURCE.replace("x + 1", "x + 2")) == (False, False)
    assert await parser.seeds(seeded.replace("seed(7)", "seed(OTHER)")) == {"OTHER"}
    assert await parser.idle(SOURCE, SOURCE.replace(" + RATE", "")) == {"RATE"}
    assert await parser.fixes_seed(seeded)
    assert await parser.diff("a\nb\n", "a\nc\n", ("x", "y"), 100) == [
        "--- x",
        "+++ y",
        "@@ -1,2 +1,2 @@",
        " a",
        "-b",
        "+c",
    ]
    assert await parser.lines_changed("a\nb\n", "a\nc\nd\n") == 3


@pytest.mark.parametrize("name", BEARABLE)
async def test_a_hostile_source_is_answered_or_refused_and_the_next_question_too(name: str) -> None:
    parser = SourceParser()
    facts = await parser.facts(BEARABLE[name])
    assert len(facts.fingerprint) == 32
    assert len(str(facts.error)) < 1000
    assert (await parser.facts(SOURCE)).error is None


async def test_a_source_that_takes_too_long_is_refused_once_and_for_all() -> None:
    parser = SourceParser()
    begun = time.monotonic()
    facts = await parser.facts(endless())
    assert facts.too_costly
    assert facts.error == "the source takes too long to parse"
    assert time.monotonic() - begun >= parsing.CPU_SECONDS
    begun = time.monotonic()
    assert await parser.facts(endless()) == facts
    with pytest.raises(TooCostlyError, match="too long"):
        await parser.compare(SOURCE, endless())
    with pytest.raises(TooCostlyError, match="too long"):
        await parser.apply(endless(), [])
    assert await parser.merge(SOURCE, SOURCE, endless()) is None
    assert time.monotonic() - begun < parsing.CPU_SECONDS / 2


async def test_of_two_texts_the_one_that_was_never_parsed_alone_is_to_blame() -> None:
    parser = SourceParser()
    assert (await parser.facts(SOURCE)).error is None
    with pytest.raises(TooCostlyError):
        await parser.compare(SOURCE, endless())
    assert (await parser.facts(endless())).too_costly
    assert await parser.compare(SOURCE, SOURCE) == (True, True)


async def test_an_edit_that_takes_too_long_is_to_blame_and_not_the_source() -> None:
    parser, code = SourceParser(), "\n".join(endless().splitlines()[1:])
    assert (await parser.facts(SOURCE)).error is None
    hostile = AddDefinition(code.replace("X =", "MORE ="), "make")
    with pytest.raises(TooCostlyError):
        await parser.apply(SOURCE, [hostile])
    begun = time.monotonic()
    with pytest.raises(TooCostlyError):
        await parser.apply(SOURCE, [hostile])
    assert time.monotonic() - begun < parsing.CPU_SECONDS / 2
    assert await parser.apply(SOURCE, [SetConstant("DEPTH", "3")]) == SOURCE.replace("DEPTH = 2", "DEPTH = 3")


async def test_a_source_that_is_too_long_is_not_even_sent() -> None:
    facts = await SourceParser().facts("#" * (MAX_SOURCE_CHARACTERS + 1))
    assert "longer than" in str(facts.error)
    assert helpers() == []


async def test_memory_has_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MEMORY_BYTES", 80 << 20)
    parser = SourceParser()
    facts = await parser.facts(BEARABLE["a long list"])
    assert "emory" in str(facts.error)
    assert (await parser.facts(SOURCE)).error is None


async def test_answers_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MAX_ANSWER_BYTES", 1000)
    parser = SourceParser()
    with pytest.raises(TooCostlyError):
        await parser.apply(SOURCE + "#" * 1000, [])
    assert (await parser.facts(SOURCE)).error is None


async def test_ten_hostile_sources_do_not_keep_the_node_from_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "CPU_SECONDS", 0.5)
    parser, pulse = SourceParser(), Pulse()
    await parser.facts(SOURCE)
    texts = [*(endless(number) for number in range(5)), *list(BEARABLE.values())[:5]]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.beat)
        found = await gather([lambda text=text: parser.facts(text) for text in texts])  # type: ignore[misc]
        nursery.cancel_scope.cancel()
    assert sum(facts.too_costly for facts in found) >= 5
    assert pulse.own < LARGEST_STALL
    assert pulse.longest < BUSY_MACHINE


async def test_a_helper_that_is_killed_meanwhile_is_replaced_and_the_question_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parsing, "CPU_SECONDS", 0.5)
    parser = SourceParser()
    await parser.facts(SOURCE)
    (helper,) = helpers()
    found = []

    async def ask() -> None:
        found.append(await parser.facts(endless()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(0.2)
        helper.kill()
    assert found[0].error == "the source takes too long to parse"
    assert (await parser.facts(SOURCE.replace("2", "3"))).error is None
    assert [each.pid for each in helpers()] != [helper.pid]


async def test_a_large_node_keeps_its_helper_all_the_same() -> None:
    """What the kernel calls a process's largest memory may be that of the process which started it."""
    ballast = bytearray(b"x" * (parsing.MEMORY_BYTES // 2 + (64 << 20)))
    parser = SourceParser()
    await parser.facts("A = 1\n")
    (first,) = helpers()
    await parser.facts("A = 2\n")
    assert [each.pid for each in helpers()] == [first.pid]
    assert len(ballast) > 0


async def test_a_helper_that_dies_while_it_waits_leaves_no_zombie() -> None:
    parser = SourceParser()
    await parser.facts(SOURCE)
    (helper,) = helpers()
    helper.kill()
    with trio.fail_after(5):
        while helpers():
            await trio.sleep(0.01)
    assert (await parser.facts("A = 1\n")).error is None


async def test_where_the_machine_is_too_busy_the_source_is_not_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "WAIT_SECONDS", 0.3)
    parser = SourceParser()
    await parser.facts("A = 1\n")
    (helper,) = helpers()
    helper.suspend()
    assert "busy" in str((await parser.facts(SOURCE)).error)
    assert (await parser.facts(SOURCE)).error is None


async def test_a_question_that_is_given_up_ends_its_helper() -> None:
    parser = SourceParser()
    with trio.move_on_after(0.3):
        await parser.facts(endless())
    with trio.fail_after(5):
        while helpers():
            await trio.sleep(0.01)
    assert (await parser.facts(SOURCE)).error is None


def test_one_parser_serves_several_trio_runs_and_each_leaves_nothing_behind() -> None:
    parser = SourceParser()
    for source in (SOURCE, SOURCE.replace("2", "3")):
        assert trio.run(parser.facts, source).error is None
        assert helpers() == []


NODE = """
import sys, trio
from node.execution.parsing.parser import SourceParser
from tests.node.execution.parsing.hostile_texts import endless

async def main():
    parser = SourceParser()
    await parser.facts("A = 1")
    print("ready", flush=True)
    if sys.argv[1] == "busy":
        await parser.facts(endless())
    await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize("state", ["busy", "idle"])
async def test_a_killed_node_leaves_no_helper(state: str) -> None:
    root = Path(__file__).parents[4]
    node = subprocess.Popen([sys.executable, "-c", NODE, state], stdout=subprocess.PIPE, cwd=root, text=True)
    assert node.stdout is not None
    assert await trio.to_thread.run_sync(node.stdout.readline) == "ready\n"
    await trio.sleep(0.2)
    (helper,) = psutil.Process(node.pid).children()
    os.kill(node.pid, signal.SIGKILL)
    node.wait()
    node.stdout.close()
    with trio.fail_after(5):
        while helper.is_running():
            await trio.sleep(0.01)


BREAKING_OUT = """
import os, socket, sys
sys.argv = ["helper.py", str(os.getppid()), str(512 << 20)]
from node.execution.parsing import helper
helper._give_up_power(os.getppid(), 512 << 20)
for attempt in (lambda: open("/etc/hostname"), lambda: open("/tmp/x", "w"), os.fork, socket.socket,
                lambda: os.execv("/bin/true", ["true"]), lambda: os.kill(os.getppid(), 0)):
    try:
        attempt()
    except OSError:
        continue
    os._exit(1)
os._exit(0)
"""


def test_the_helper_can_open_no_file_and_start_and_reach_nothing() -> None:
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", BREAKING_OUT], cwd=root, timeout=30, check=False)
    assert done.returncode == 0


async def test_changes_to_different_lines_merge_and_to_the_same_ones_do_not() -> None:
    parser = SourceParser()
    ours = SOURCE.replace("1e-3", "2e-3")
    theirs = SOURCE.replace("x + 1", "x + 3")
    assert await parser.merge(SOURCE, ours, theirs) == ours.replace("x + 1", "x + 3")
    rival = theirs.replace("1e-3", "3e-3")
    assert await parser.merge(SOURCE, ours, rival) is None
    assert await parser.merge(SOURCE, ours, rival, "ours") == ours.replace("x + 1", "x + 3")
    assert await parser.merge(SOURCE, ours, rival, "theirs") == rival


EDITABLE = ["train.py", "layers.py", "add.cu", "run.sh"]


def tree(**changes: str) -> str:
    """A source of four files, with changes to them; `_py` stands for ".py"."""
    files = {
        "train.py": SOURCE,
        "layers.py": "WIDTH = 1\nRATE = 2\n",
        "add.cu": "a\nb\nc\nd\n",
        "run.sh": "go\r\non\r\n",
    }
    return pack(files | {name.replace("_", "."): text for name, text in changes.items()})


async def test_a_source_of_several_files_is_read_file_by_file() -> None:
    parser = SourceParser(editable=EDITABLE)
    facts = await parser.facts(tree())
    assert facts.error is None
    assert facts.fingerprint == await SourceParser().fingerprint(tree())  # its first line says that it is a tree
    assert {each.name: each.file for each in facts.numbers} == {
        "train.py:RATE": "train.py", "DEPTH": "train.py", "LARGE": "train.py", "OTHER": "train.py",
        "WIDTH": "layers.py", "layers.py:RATE": "layers.py",
    }  # fmt: skip
    assert (await parser.facts(tree(add_cu="a \nb\nc\nd\n"))).fingerprint == facts.fingerprint
    assert "layers.py: the source does not parse" in str((await parser.facts(tree(layers_py="def (:"))).error)
    assert "not the objective's files" in str((await parser.facts(tree(more_py=""))).error)
    assert "not the objective's files" in str((await parser.facts(SOURCE)).error)
    assert await parser.apply(tree(), [SetConstant("WIDTH", "4")]) == tree(layers_py="WIDTH = 4\nRATE = 2\n")
    assert await parser.apply(tree(), [ReplaceInFile("b", "B", "add.cu")]) == tree(add_cu="a\nB\nc\nd\n")
    assert await parser.compare(tree(), tree(add_cu="a\nb\nc\nd \n")) == (True, True)
    assert await parser.compare(tree(), "no tree") == (False, False)
    assert await parser.lines_changed(tree(), tree(add_cu="a\nB\nc\nd\n", layers_py="RATE = 2\n")) == 3


async def test_the_difference_of_two_trees_is_shown_by_file() -> None:
    after = tree(layers_py="WIDTH = 1\nRATE = 3\n", add_cu="a\nb\nc\nd\ne\n")
    assert await SourceParser().diff(tree(), after, ("parent", "child"), 100) == [
        "--- parent: add.cu", "+++ child: add.cu", "@@ -2,3 +2,4 @@", " b", " c", " d", "+e",
        "--- parent: layers.py", "+++ child: layers.py", "@@ -1,2 +1,2 @@", " WIDTH = 1", "-RATE = 2", "+RATE = 3",
    ]  # fmt: skip
    assert (await SourceParser().diff(tree(), after, ("parent", "child"), 7))[-1] == "(cut)"
    broken = await SourceParser(editable=EDITABLE).diff(tree(), "no tree\n", ("parent", "child"), 100)
    assert broken[:3] == ["--- parent", "+++ child", "@@ -1,31 +1 @@"]


async def test_a_file_that_is_not_python_is_read_by_its_text() -> None:
    parser, text = SourceParser(editable=["add.cu"]), "// def (:\nfloat add(float a);\n"
    facts = await parser.facts(text)
    assert (facts.error, facts.numbers) == (None, ())
    assert (await parser.facts(text.replace("\n", " \r\n"))).fingerprint == facts.fingerprint
    assert await parser.apply(text, [ReplaceInFile("add", "sum")]) == text.replace("add", "sum")
    assert await parser.merge(text, text + "// a\n", "// b\n" + text) == "// b\n" + text + "// a\n"
    assert await parser.compare(text, text.replace("add", "sum")) == (False, False)


async def test_changes_to_different_files_merge_and_a_conflict_in_one_is_a_conflict() -> None:
    parser = SourceParser()
    ours, theirs = tree(add_cu="A\nb\nc\nd\n"), tree(layers_py="WIDTH = 3\nRATE = 2\n", add_cu="a\nb\nc\nD\n")
    assert await parser.merge(tree(), ours, theirs) == tree(layers_py="WIDTH = 3\nRATE = 2\n", add_cu="A\nb\nc\nD\n")
    rival = tree(layers_py="WIDTH = 3\nRATE = 2\n", add_cu="x\nb\nc\nd\n")
    assert await parser.merge(tree(), ours, rival) is None
    assert await parser.merge(tree(), ours, rival, "theirs") == rival
    assert await parser.merge(tree(), ours, tree(more_py="")) is None
    assert await parser.merge(tree(), ours, "no tree") is None
    assert await parser.merge(tree(), ours, tree(layers_py="def (:\n")) is None
    half = "x\n" * (MAX_SOURCE_CHARACTERS // 4)
    assert await parser.merge(tree(), tree(add_cu=half), tree(run_sh=half + "y\n")) is None  # too long together


LINES = "A = 1\nB = 2\n\n\ndef f():\n    return A\n\n\ndef g():\n    return B\n"


@pytest.mark.parametrize("ends", ["NNN", "RRR", "NNR", "NRN", "NRR", "RNN", "RNR", "RRN"])
async def test_files_merge_whatever_their_lines_end_with(ends: str) -> None:
    """Base, ours and theirs with LF (N) or CRLF (R): the merge has the base's ends."""
    versions = (LINES, LINES.replace("A = 1", "A = 3"), LINES.replace("return B", "return B + 1"))
    base, ours, theirs = (
        text.replace("\n", "\r\n") if end == "R" else text for end, text in zip(ends, versions, strict=True)
    )
    expected = LINES.replace("A = 1", "A = 3").replace("return B", "return B + 1")
    merged = await SourceParser().merge(base, ours, theirs)
    assert merged == (expected.replace("\n", "\r\n") if ends[0] == "R" else expected)


async def test_a_merge_that_is_no_program_is_none() -> None:
    base = "A = (\n    1\n)\n\n\n\n\n\nB = 2\n"
    broken = base.replace(")\n\n\n", ")\n)\n\n")
    assert await SourceParser().merge(base, base.replace("B = 2", "B = 3"), broken) is None


async def test_a_merge_keeps_nothing_else_waiting_and_has_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(parsing, "MERGE_SECONDS", 0.5)
    meanwhile = 0
    async with trio.open_nursery() as nursery:

        async def count() -> None:
            nonlocal meanwhile
            while True:
                await trio.sleep(0.05)
                meanwhile += 1

        nursery.start_soon(count)
        assert await SourceParser().merge(SOURCE, SOURCE, SOURCE) is None
        nursery.cancel_scope.cancel()
    assert meanwhile >= 3
