"""Commands of other people run in the sandbox, and whatever they do, an outcome comes of it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from node.execution import run_seeds
from node.execution.command.command_runner import CommandRunner
from node.execution.run_folder import place_of_folders, remove_left_over
from node.execution.run_progress import Progress
from node.execution.sandbox.layers import Layers
from node.ledger.outcome import Outcome
from node.objective import trees
from node.objective.schema import ObjectiveError
from protocol.records import Failure
from tests.node.execution.command.folders import SEED, command_objective, processes_in, run
from tests.node.execution.command.traps import LINES, PROCESSES, VALUES, Trap


@pytest.mark.parametrize("trap", VALUES, ids=lambda trap: trap.name)
async def test_values_are_read_or_refused_with_the_reason(trap: Trap, machine: Layers, tmp_path: Path) -> None:
    await spring(trap, machine, tmp_path)


@pytest.mark.parametrize("trap", PROCESSES, ids=lambda trap: trap.name)
async def test_whatever_a_command_does_it_ends_with_an_outcome(trap: Trap, layers: Layers, tmp_path: Path) -> None:
    await spring(trap, layers, tmp_path)


async def spring(trap: Trap, layers: Layers, tmp_path: Path) -> None:
    objective = command_objective(
        tmp_path / "folder", {"bench.sh": trap.shell, **trap.files}, command=trap.command, rest=trap.rest,
        wall_seconds=trap.seconds, memory_mb=trap.memory_mb,
    )  # fmt: skip
    begun = time.monotonic()
    outcome = await run(objective, layers)
    assert (outcome.value, outcome.failure) == (trap.value, trap.failure), outcome.log_tail
    assert trap.says in outcome.log_tail
    assert len(outcome.log_tail) <= 2000
    assert time.monotonic() - begun < 60  # seconds, on a machine that is busy with other things


# Seeds


async def test_the_seed_comes_by_variable_and_by_rewriting(machine: Layers, tmp_path: Path) -> None:
    objective = command_objective(
        tmp_path / "folder",
        {"source.txt": "torch.manual_seed(42)\n", "bench.sh": 'cat source.txt; echo "METRIC score=$SEED"'},
        rest="""[command.seed]
        variable = "SEED"
        rewrite = [{ file = "source.txt", find = "manual_seed(42)", replace = "manual_seed({seed})" }]""",
        command=f'{LINES}\nchecks = "grep -q manual_seed\\\\($SEED\\\\) source.txt"',
    )
    outcome = await run(objective, machine)
    assert outcome.value == run_seeds.task_seed(SEED)
    assert (objective.root / "source.txt").read_text() == "torch.manual_seed(42)\n"


async def test_a_source_without_the_place_of_the_seed_is_refused(machine: Layers, tmp_path: Path) -> None:
    objective = command_objective(
        tmp_path / "folder",
        {"source.txt": "seed(42)", "bench.sh": "echo METRIC score=1"},
        rest='[command.seed]\nrewrite = [{ file = "source.txt", find = "seed(42)", replace = "seed({seed})" }]',
    )
    assert (await run(objective, machine)).value == 1
    for source in ("seed(43)", "seed(42) seed(42)"):
        outcome = await run(objective, machine, source)
        assert outcome.failure == Failure.INVALID
        assert "the run's seed cannot be set: 'seed(42)' stands" in outcome.log_tail


# Files


async def test_a_run_has_the_objective_s_files_and_the_source_s(machine: Layers, tmp_path: Path) -> None:
    files = {"a.py": "1", "lib/b.py": "2", "lib/c.py": "3", ".auto/bench.sh": "cat a.py lib/b.py lib/c.py"}
    objective = command_objective(
        tmp_path / "folder",
        files,
        editable=["a.py", "lib/b.py"],
        command='run = "echo METRIC score=$(bash .auto/bench.sh)"',
    )
    (objective.root / "lib/c.py").write_text("9")  # changed since the objective was read
    (objective.root / "new.txt").write_text("new")
    assert (await run(objective, machine)).value == 123
    assert (await run(objective, machine, trees.pack({"a.py": "4", "lib/b.py": "5"}))).value == 453
    other = await run(objective, machine, trees.pack({"a.py": "4"}))
    assert (other.failure, "the source is not what the objective edits" in other.log_tail) == (Failure.SYNTAX, True)


async def test_a_run_builds_and_executes_programs_and_writes_where_programs_do(machine: Layers, tmp_path: Path) -> None:
    shell = """set -e
    printf '#!/bin/bash\\necho METRIC score=$(cat /dev/shm/a $TMPDIR/b $HOME/c out/d link)' > out.sh
    chmod +x out.sh; mkdir out; ln -s out/d link; touch -d @0 out/d
    echo -n 1 > /dev/shm/a; echo -n 2 > $TMPDIR/b; echo -n 3 > $HOME/c; echo -n 4 > out/d; ./out.sh"""
    objective = command_objective(
        tmp_path / "folder",
        {"bench.sh": shell, "run.sh": "#!/bin/sh\nexec bash bench.sh\n"},
        command='run = "./run.sh"',
    )
    outcome = await run(objective, machine)
    assert outcome.value == 12344, outcome.log_tail


async def test_a_run_starts_afresh(machine: Layers, tmp_path: Path) -> None:
    shell = "ls mine $HOME/mine $TMPDIR/mine && exit 1; touch mine $HOME/mine $TMPDIR/mine; echo METRIC score=1"
    objective = command_objective(tmp_path / "folder", {"bench.sh": shell})
    assert (await run(objective, machine)).value == (await run(objective, machine)).value == 1
    assert sorted(path.name for path in objective.root.iterdir()) == ["bench.sh", "objective.toml", "source.txt"]


async def test_what_lies_outside_cannot_be_read_or_written(machine: Layers, tmp_path: Path) -> None:
    objective = command_objective(
        tmp_path / "folder", {"bench.sh": f"cat {tmp_path}/secret; touch {tmp_path}/x; echo METRIC score=1"}
    )
    (tmp_path / "secret").write_text("secret")
    bad = command_objective(tmp_path / "bad", {"bench.sh": f"cat {tmp_path}/secret || exit 9"})
    assert (await run(objective, machine)).value == 1
    assert "exit status 9" in (await run(bad, machine)).log_tail
    assert not (tmp_path / "x").exists()


async def test_folders_that_a_run_has_locked_are_removed(layers: Layers, tmp_path: Path) -> None:
    objective = command_objective(
        tmp_path / "folder", {"bench.sh": "mkdir -p a/b; touch a/b/c; chmod 0 a/b a; echo METRIC score=1"}
    )
    assert (await run(objective, layers)).value == 1  # `run` finds no folder that is left


async def test_what_a_killed_node_left_is_removed_at_the_next_start(machine: Layers, tmp_path: Path) -> None:
    (place_of_folders(tmp_path / "run-folders") / "left").mkdir(parents=True)
    objective = command_objective(tmp_path / "folder", {"bench.sh": "echo METRIC score=1"})
    assert (
        await run(objective, machine, folders=tmp_path / "run-folders")
    ).value == 1  # `run` finds no folder that is left


async def test_a_compiler_would_find_a_folder_to_work_in_though_the_home_is_closed(
    layers: Layers, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    code = "import os; print(f'METRIC score={os.access(os.environ[\"TMPDIR\"], os.R_OK | os.W_OK | os.X_OK):d}')"
    objective = command_objective(tmp_path / "folder", {"a.py": code}, command='run = "python3 a.py"')
    assert (await run(objective, layers)).value == 1


async def test_the_files_that_measure_cannot_be_changed(layers: Layers, tmp_path: Path) -> None:
    shell = """for file in bench.sh lib/more.sh; do
        (echo x > $file || rm -f $file || mv $file other || mv lib lib2) 2> /dev/null && echo changed $file && exit 1
    done; echo METRIC score=1"""
    objective = command_objective(tmp_path / "folder", {"bench.sh": shell, "lib/more.sh": "true"})
    outcome = await run(objective, layers)
    assert outcome.value == 1, outcome.log_tail


# How it goes on and ends


async def test_progress_is_what_the_command_says_or_else_the_time(machine: Layers, tmp_path: Path) -> None:
    seen: list[Progress] = []
    shell = r"sleep 0.7; printf 'step 3 (41.5%%) | mfu 12%%\r'; sleep 2.4; echo METRIC score=1"
    objective = command_objective(tmp_path / "folder", {"bench.sh": shell})
    await run(objective, machine, progress=seen.append)
    shares = [progress.share for progress in seen]
    assert shares[:2] == [pytest.approx(0, abs=0.02), pytest.approx(0.5 / 20, abs=0.02)]
    assert shares[-1] == 0.415
    assert seen[-1].phase == "train"
    assert seen[-1].seconds > 1


async def test_a_paused_run_stands_still_and_its_time_does_too(machine: Layers, tmp_path: Path) -> None:
    objective = command_objective(
        tmp_path / "folder",
        {"bench.sh": "for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; echo METRIC score=1"},
        wall_seconds=3,
    )
    async with CommandRunner(objective, machine, tmp_path / "run-folders") as runner:
        outcomes: list[Outcome] = []

        async def one() -> None:
            outcomes.append(await runner.run(objective.source, SEED, lambda progress: None))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await trio.sleep(0.5)
            runner.pause_gate.pause()
            await trio.sleep(4)
            assert outcomes == []
            runner.pause_gate.resume()
    assert outcomes[0].value == 1
    assert outcomes[0].wall_seconds < 3


async def test_a_cancelled_run_leaves_nothing(machine: Layers, tmp_path: Path) -> None:
    objective = command_objective(tmp_path / "folder", {"bench.sh": "sleep 1000 & sleep 1000"})
    async with CommandRunner(objective, machine, tmp_path / "run-folders") as runner:
        with trio.move_on_after(0.5) as scope:
            await runner.run(objective.source, SEED, lambda progress: None)
        assert scope.cancelled_caught
        assert list(runner.folders_dir.iterdir()) == processes_in(runner.folders_dir) == []


async def test_checks_have_their_time_and_see_what_the_run_made(machine: Layers, tmp_path: Path) -> None:
    files = {"bench.sh": "echo 5 > made; echo METRIC score=1; echo METRIC score=2 > $HOME/x"}
    seen: list[Progress] = []
    objective = command_objective(
        tmp_path / "a", files, command=f'{LINES}\nchecks = "echo METRIC score=9; test $(cat made) = 5"'
    )
    assert (await run(objective, machine, progress=seen.append)).value == 1
    assert "judge" in {progress.phase for progress in seen}
    objective = command_objective(
        tmp_path / "b", files, command=f'{LINES}\nchecks = "sleep 1000"\nchecks_seconds = 0.5'
    )
    outcome = await run(objective, machine)
    assert (outcome.failure, outcome.log_tail) == (Failure.TIMEOUT, "checks did not end within 0.5 s, so it was ended")


async def test_a_run_is_told_what_it_used(machine: Layers, tmp_path: Path) -> None:
    code = "import time\nx = b'x' * (100 << 20)\nwhile time.process_time() < 1: pass\nprint('METRIC score=-1')"
    objective = command_objective(tmp_path / "folder", {"a.py": code}, command='run = "python3 a.py"', scale="linear")
    outcome = await run(objective, machine)
    assert (outcome.value, outcome.tokens) == (-1, 0)
    assert 0.9 < outcome.cpu_seconds < 3
    assert outcome.wall_seconds >= 0.9
    assert 100 << 20 < outcome.peak_memory < 400 << 20


async def test_a_run_has_as_many_processors_as_the_objective_has_threads(machine: Layers, tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has one processor")
    objective = command_objective(tmp_path / "folder", {"bench.sh": "echo METRIC score=$(nproc)"})
    assert (await run(objective, machine)).value == 1


async def test_a_command_has_no_holdout_and_no_turns(machine: Layers, tmp_path: Path) -> None:
    objective = command_objective(tmp_path / "folder", {"bench.sh": "echo METRIC score=$(wc -c < source.txt)"})
    async with CommandRunner(objective, machine, tmp_path / "run-folders") as runner:
        assert not runner.can_alternate()
        assert (await runner.examine(objective.source, SEED, "holdout")).failure == Failure.EXCEPTION
        parent, child = await runner.run_pair("four", "eighteen", SEED, lambda p: None, lambda p: None)
        assert (parent.value, child.value) == (4, 8)
        assert runner.timing.runs == 2


# Folders that are hard to remove, to count, or to make

DEEP = """
import os
for number in range({}):
    os.mkdir("a"); os.chdir("a")
"""


async def test_a_folder_of_any_depth_is_removed(layers: Layers, tmp_path: Path) -> None:
    objective = command_objective(
        tmp_path / "folder",
        {"deep.py": f'{DEEP.format(1500)}\nprint("METRIC score=1")'},
        command='run = "python3 deep.py"',
    )
    assert (await run(objective, layers)).value == 1


async def test_what_a_killed_node_left_is_removed_whatever_it_is(tmp_path: Path) -> None:
    folders = tmp_path / "folders"
    subprocess.run([sys.executable, "-c", DEEP.format(3000)], cwd=made(folders / "deep"), check=True)
    closed = made(folders / "closed" / "inner")
    (closed / "file").write_text("x")
    closed.chmod(0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (made(folders / "links") / "link").symlink_to(tmp_path / "mine")
    await trio.to_thread.run_sync(remove_left_over, folders)
    assert [*folders.iterdir()] == []
    assert (tmp_path / "mine" / "file").read_text() == "mine"


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


async def test_what_is_written_very_deep_counts(
    layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.execution.command.command_runner.FOLDER_BYTES", 50 << 20)
    writes = "for n in range(8): open(str(n), 'wb').write(bytes(20 << 20))\nimport time; time.sleep(60)"
    script = f"{DEEP.format(3000)}\n{writes}"
    objective = command_objective(tmp_path / "folder", {"deep.py": script}, command='run = "python3 deep.py"')
    outcome = await run(objective, layers)
    assert "it cannot be counted" in outcome.log_tail


async def test_files_without_a_name_do_not_fill_the_disk(
    layers: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
import os, time
files = []
for number in range(20):
    files.append(open("file", "wb"))
    os.unlink("file")
    files[-1].write(os.urandom(20 << 20)), files[-1].flush()
time.sleep(60)
"""
    objective = command_objective(tmp_path / "folder", {"fill.py": script}, command='run = "python3 fill.py"')
    folders = tmp_path / "folders"
    free = shutil.disk_usage(place_of_folders(folders).parent).free
    monkeypatch.setattr("node.execution.sandbox.watch.LEAST_FREE", free - (200 << 20))
    monkeypatch.setattr("node.execution.sandbox.watch.LEAST_SHARE", 1)
    outcome = await run(objective, layers, folders=folders)
    assert "filled the disk" in outcome.log_tail


async def test_paths_of_an_environment_may_lie_in_each_other(machine: Layers, tmp_path: Path) -> None:
    (made(tmp_path / "folder" / "data" / "inner") / "value").write_text("5")
    objective = command_objective(
        tmp_path / "folder",
        {"bench.sh": "echo METRIC score=$(cat data/inner/value)"},
        rest='[environment]\npaths = ["data", "data/inner"]',
    )
    assert (await run(objective, machine)).value == 5


def test_an_editable_file_is_no_part_of_the_environment(tmp_path: Path) -> None:
    with pytest.raises(ObjectiveError, match=r"source\.txt is editable"):
        command_objective(tmp_path / "folder", {}, rest='[environment]\npaths = ["source.txt"]')


async def test_a_folder_that_cannot_be_made_is_no_fault_of_the_source(
    machine: Layers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = command_objective(tmp_path / "folder", {"bench.sh": "echo METRIC score=1"})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("node.execution.run_folder._write", full)
    outcome = await run(objective, machine)
    assert outcome.failure == Failure.KILLED
    assert "No space left" in outcome.log_tail


async def test_a_source_that_swaps_itself_for_a_right_one_is_not_checked(layers: Layers, tmp_path: Path) -> None:
    objective = command_objective(
        tmp_path / "folder",
        {"source.txt": "right\n", "bench.sh": ". ./source.txt"},
        command='run = "bash bench.sh"\nchecks = "grep -q right source.txt"',
    )
    outcome = await run(objective, layers, "echo METRIC score=0.001; echo right > source.txt; exit")
    assert outcome.failure == Failure.INVALID
    assert "the run changed its own source.txt" in outcome.log_tail
