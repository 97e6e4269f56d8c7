"""A run is trained by one worker, examined by two others, judged by a fourth; whatever a source does is an outcome.

Everything here is real: the sandbox, torch, tinylm with a budget of a few steps.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from node.execution.fork_servers import ForkServerPool
from node.execution.run_progress import Progress
from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers, probe, tier
from node.execution.sandbox.process import SandboxedProcess
from node.ledger.outcome import Outcome
from node.objective.schema import Objective
from node.platform.concurrency import gather
from scripts.loaded_machine import dearer
from tests.node.execution.cheats import BASELINE, CHEATS, in_step
from tests.node.execution.kept_servers import workers_left
from tests.node.execution.sandbox.conftest import only
from tests.node.execution.sandbox.tiers import TIERS
from tests.node.execution.small_objective import IN_FILES, TOKENS, small_in_files, small_objective


@pytest.fixture(scope="module")
def layers() -> Layers:
    return probe()


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory) -> Objective:
    return small_objective(tmp_path_factory.mktemp("tinylm"), whole_judge=False, wall_seconds=120, memory_mb=1200)


@pytest.fixture(scope="module")
def in_files(tmp_path_factory: pytest.TempPathFactory, layers: Layers) -> Objective:
    """Its text is in files, its seed is plain, and its judge shows whole windows to two rooms."""
    return small_in_files(tmp_path_factory.mktemp("in files"), layers)


def ignore(*_: object, **__: object) -> None:
    """Progress and events that no test reads."""


async def test_an_honest_run_scores_and_the_same_seed_gives_the_same_bits_alone_and_beside_others(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    training: set[int] = set()
    most = 0

    async def beside(runner: Runner, seed: int) -> Outcome:
        def note(progress: Progress) -> None:
            nonlocal most
            training.add(seed)
            most = max(most, len(training))

        outcome = await runner.run(objective.source, seed, note)
        training.discard(seed)
        return outcome

    async with Runner(objective, layers, tmp_path, ignore, parallel_runs=2) as runner:
        first = await runner.run(objective.source, 7, seen.append)
        second, other = await gather([partial(beside, runner, 7), partial(beside, runner, 8)])
        for seed in (10, 12):
            if most < 2:  # the second worker was so late on a busy machine that the first run had ended
                await gather([partial(beside, runner, seed), partial(beside, runner, seed + 1)])
        holdout = await runner.examine(objective.source, 7, "holdout")
        missing = await runner.examine(objective.source, 9, "holdout")
        timing = runner.timing
    assert first.failure is None
    assert first.value is not None
    assert 3.0 < first.value < 8.0
    assert first.tokens == TOKENS
    assert [step for step, _ in first.checkpoints] == [20]
    assert first.cpu_seconds > 0
    assert first.peak_memory > 50_000_000
    assert (second.value, second.checkpoints) == (first.value, first.checkpoints)
    assert other.value != first.value
    assert most == 2
    assert holdout.value is not None
    assert holdout.value != first.value
    assert (missing.value, missing.failure, missing.log_tail) == (None, "exception", "no weights of this run are kept")
    assert seen[0].phase == "train"
    assert seen[-1].phase == "judge"
    assert all(0 <= progress.share <= 1 for progress in seen)
    assert timing.train_seconds > 0
    assert timing.judge_seconds > 0
    assert not workers_left()


async def test_a_pair_in_turns_scores_as_two_runs_do_and_compares_their_work(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    """The child trains a second model beside the first, and so costs twice as much; its examination costs the same."""
    twice = dearer(objective.source, every=1)
    seen: tuple[list[Progress], list[Progress]] = ([], [])
    async with Runner(objective, layers, tmp_path, ignore) as runner:
        alone = await runner.run(objective.source, 7, ignore)
        assert runner.can_alternate()
        parent, child = await runner.run_pair(objective.source, twice, 7, seen[0].append, seen[1].append)
        broken, other = await runner.run_pair("raise ValueError", objective.source, 8, ignore, ignore)
    assert (parent.value, parent.checkpoints, parent.failure) == (alone.value, alone.checkpoints, None)
    assert child.metrics["bits"] == alone.metrics["bits"]  # its score, but for the price of its length
    assert 1.25 < child.cpu_seconds / parent.cpu_seconds < 2.4
    assert all(progress[-1].phase == "judge" for progress in seen)
    assert (broken.failure, other.failure) == ("exception", None)
    assert not workers_left()


@pytest.mark.long
async def test_a_warm_run_begins_at_once(objective: Objective, layers: Layers, tmp_path: Path) -> None:
    began: list[float] = []

    def note(progress: Progress) -> None:
        began.append(trio.current_time())

    async with Runner(objective, layers, tmp_path, ignore) as runner:
        await runner.run(objective.source, 1, ignore)
        await until_idle()
        called = trio.current_time()
        await runner.run(objective.source, 2, note)
    # 150 ms on a machine of one's own; tests share theirs.
    assert began[0] - called < 1.0


async def test_cost_is_counted_over_the_tokens_that_were_trained(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    larger = replace(objective, budget=replace(objective.budget, tokens=2 * TOKENS))
    async with Runner(larger, layers, tmp_path, ignore) as runner:
        outcome = await runner.run(objective.source, 7, ignore)
    assert (outcome.failure, outcome.tokens) == (None, 2 * TOKENS)


async def test_a_frozen_run_uses_nothing_and_ends_with_the_same_bits(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    async with Runner(objective, layers, tmp_path, ignore) as runner:
        straight = await runner.run(objective.source, 3, ignore)
        await until_idle()
        seen: list[Progress] = []
        while_frozen: list[int] = []

        async def freeze_for_a_second() -> None:
            runner.pause_gate.pause()
            await trio.sleep(0.3)  # for reports that were sent before the pause
            before = len(seen)
            await trio.sleep(1.0)
            while_frozen.append(len(seen) - before)
            runner.pause_gate.resume()

        async with trio.open_nursery() as nursery:

            def note(progress: Progress) -> None:
                seen.append(progress)
                if len(seen) == 1:
                    nursery.start_soon(freeze_for_a_second)

            started = trio.current_time()
            interrupted = await runner.run(objective.source, 3, note)
            elapsed = trio.current_time() - started
    assert interrupted.value == straight.value
    assert while_frozen == [0]
    assert interrupted.wall_seconds < elapsed - 1.2  # the pause does not count as its cost
    assert seen[-1].seconds < elapsed - 1.2, "nor is it shown as time that the run took"


@pytest.mark.long
async def test_a_pause_is_no_part_of_the_seconds_of_a_run_that_fails_after_it(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    source = in_step("time.sleep(0.1); next(STEPS)") + "\nimport time\nSTEPS = iter(range(10))\n"
    async with Runner(objective, layers, tmp_path, ignore) as runner, trio.open_nursery() as nursery:
        seen: list[Progress] = []

        async def pause_for_a_second() -> None:
            runner.pause_gate.pause()
            await trio.sleep(1.0)
            runner.pause_gate.resume()

        def note(progress: Progress) -> None:
            seen.append(progress)
            if len(seen) == 1:
                nursery.start_soon(pause_for_a_second)

        started = trio.current_time()
        outcome = await runner.run(source, 3, note)
        elapsed = trio.current_time() - started
    assert outcome.failure == "exception"
    assert outcome.wall_seconds < elapsed - 0.9


async def test_nothing_is_begun_while_frozen_and_a_frozen_run_can_be_ended(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    async with Runner(objective, layers, tmp_path, ignore) as runner:
        runner.pause_gate.pause()
        with trio.move_on_after(0.5) as patience:
            await runner.run(objective.source, 3, ignore)
        assert patience.cancelled_caught
        runner.pause_gate.resume()
        started = trio.current_time()
        with trio.CancelScope() as scope:

            def end(progress: Progress) -> None:
                runner.pause_gate.pause()
                scope.cancel()

            await runner.run(objective.source, 3, end)
        assert scope.cancelled_caught
    assert trio.current_time() - started < 30
    assert not workers_left()


async def test_servers_that_cannot_both_be_started_leave_nothing_behind(
    layers: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, started = SandboxedProcess.start, 0

    def start_one(*arguments: Any, **more: Any) -> SandboxedProcess:
        nonlocal started
        started += 1
        if started > 1:
            raise BlockingIOError(errno.EAGAIN, "no more processes")  # what a full process table looks like
        return start(*arguments, **more)

    monkeypatch.setattr(SandboxedProcess, "start", start_one)
    before = open_descriptors()
    async with trio.open_nursery() as nursery:
        pool = ForkServerPool(layers, 1 << 30, most=1)
        pool.open(nursery)
        started = 0
        with pytest.raises(BlockingIOError):
            pool.take()
    assert open_descriptors() == before
    assert not workers_left()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def cpu_below() -> float:
    """CPU seconds of all processes below this one."""
    return float(sum(sum(p.cpu_times()[:2]) for p in psutil.Process().children(recursive=True)))


async def until_idle() -> None:
    """Wait until the fork servers have imported everything and use no more CPU."""
    before = -1.0
    while (now := cpu_below()) != before:
        before = now
        await trio.sleep(0.5)


BASELINE_IN_FILES = (IN_FILES / "train.py").read_text()
HOG = "waste = [torch.ones(25_000_000) for _ in range(100)]"
FAILING: list[tuple[str, str, str, str]] = [
    # what the source does, the source, the failure, what its log says
    ("does not parse", BASELINE + "\ndef (", "syntax", "train.py"),
    ("holds a null byte", BASELINE + "\0", "syntax", "null"),
    ("raises", in_step("raise RuntimeError('enough')"), "exception", "enough"),
    ("raises after much output", in_step("print('x\\n' * 3000); raise RuntimeError('late')"), "exception", "late"),
    ("has no train", "import torch\n", "exception", "train"),
    ("returns no model", "def train(task):\n    return 3\n", "exception", "torch.nn.Module"),
    ("reports a loss that is not a number", in_step("loss = loss * float('nan')"), "diverged", "nan"),
    ("says that it diverged", in_step("raise SystemExit('diverged')"), "diverged", "diverged"),
    ("eats memory", in_step(HOG), "memory", ""),
    ("never ends", in_step("while True: pass"), "timeout", ""),
    ("floods its output", in_step("[print('x' * 1000) for _ in range(100_000)]"), "output", "x"),
    ("ends its process", in_step("__import__('os')._exit(0)"), "exception", ""),
    ("kills its process", in_step("__import__('os').kill(__import__('os').getpid(), 11)"), "exception", ""),
    ("reads how its text was drawn", in_step("open('{hidden}').read()"), "exception", "language.py"),
    ("opens a socket", in_step("__import__('socket').socket()"), "exception", "socket"),
    ("hands out another model than it builds", BASELINE + "\ndef build(task):\n    return nn.Linear(1, 1)\n", "", ""),
]


async def test_every_way_to_fail_is_an_outcome(objective: Objective, layers: Layers, tmp_path: Path) -> None:
    hurried = replace(objective, budget=replace(objective.budget, wall_seconds=12))  # one of them never ends
    hidden = str(objective.root / "language.py")
    wrong: list[tuple[str, Outcome]] = []
    async with Runner(hurried, layers, tmp_path, ignore, parallel_runs=2) as runner:
        sources = [source.replace("{hidden}", hidden) for _, source, _, _ in FAILING]
        outcomes = await gather([partial(runner.run, source, 1, ignore) for source in sources])
    for (what, _, failure, told), outcome in zip(FAILING, outcomes, strict=True):
        expected = failure or outcome.failure
        if outcome.value is not None or outcome.failure != expected or told not in outcome.log_tail:
            wrong.append((what, outcome))
    assert not wrong
    assert not workers_left()


@pytest.fixture(scope="module")
def honest(objective: Objective, layers: Layers, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run behind the strongest tier."""

    async def run() -> Outcome:
        async with Runner(objective, layers, tmp_path_factory.mktemp("weights"), ignore) as runner:
            return await runner.run(objective.source, 1, ignore)

    outcome = trio.run(run)
    assert outcome.value is not None, outcome
    return outcome


@pytest.fixture(params=[pytest.param(TIERS[1], marks=pytest.mark.long), *TIERS[2:]])
def weaker(request: pytest.FixtureRequest) -> Layers:
    return only(request.param)


TIERS_DECIDE = ("kills its process", "reads how its text was drawn")


async def test_weaker_tiers_give_the_same_outcomes(
    objective: Objective, honest: Outcome, weaker: Layers, tmp_path: Path
) -> None:
    """For failures that a tier decides. The others are found by the node and the workers, whatever the tier."""
    hidden = str(objective.root / "language.py")
    failing = [case for case in FAILING if case[0] in TIERS_DECIDE]
    assert len(failing) == len(TIERS_DECIDE)
    async with Runner(objective, weaker, tmp_path, ignore) as runner:
        for what, source, failure, told in failing:
            outcome = await runner.run(source.replace("{hidden}", hidden), 1, ignore)
            assert (outcome.value, outcome.failure) == (None, failure), what
            assert told in outcome.log_tail, what
        same = await runner.run(objective.source, 1, ignore)
    assert (same.tier, same.failure, same.value) == (tier(weaker), None, honest.value)
    assert not workers_left()


REALLY_TRIED = (  # the rest of CHEATS are for scripts/cheat_table.py, and for the judge's own tests
    "looks ahead in one window of fifty",
    "attends to what comes",
    "answers with what is not finite",
    "fails when examined",
)


async def test_a_dishonest_model_gains_nothing(objective: Objective, layers: Layers, tmp_path: Path) -> None:
    believed: list[tuple[str, Outcome]] = []
    chosen = [cheat for cheat in CHEATS if cheat.name in REALLY_TRIED]
    assert len(chosen) == len(REALLY_TRIED)
    async with Runner(objective, layers, tmp_path, ignore, parallel_runs=2) as runner:
        honest, *outcomes = await gather(
            [partial(runner.run, source, 1, ignore) for source in (BASELINE, *(cheat.source for cheat in chosen))]
        )
    assert honest.value is not None
    for cheat, outcome in zip(chosen, outcomes, strict=True):
        refused = outcome.failure == "invalid" and outcome.value is None and outcome.log_tail
        # Without the price of a longer source, which would let every one of them lose.
        lost = outcome.value is not None and outcome.metrics["bits"] > honest.metrics["bits"]
        if not (refused if cheat.verdict == "invalid" else lost):
            believed.append((cheat.name, outcome))
    assert not believed


LOOKS_AHEAD = BASELINE_IN_FILES.replace(
    "        return self.head(states)\n",
    "        y = self.head(states)\n"
    "        if not self.training:\n"
    "            y[:, :-1] += 2.0 * F.one_hot(tokens[:, 1:], y.size(-1))\n"
    "        return y\n",
)


async def test_text_in_files_is_scored_in_two_rooms_and_looking_ahead_is_rejected(
    in_files: Objective, layers: Layers, tmp_path: Path
) -> None:
    async with Runner(in_files, layers, tmp_path, ignore) as runner:
        first = await runner.run(in_files.source, 3, ignore)
        holdout = await runner.examine(in_files.source, 3, "holdout")
        cheat = await runner.run(LOOKS_AHEAD, 3, ignore)
        again = await runner.run(in_files.source, 3, ignore)
    assert first.failure is None, first.log_tail
    assert first.value is not None
    assert [step for step, _ in first.checkpoints] == [20]
    assert (again.value, again.checkpoints) == (first.value, first.checkpoints)
    assert holdout.value not in (None, first.value)
    assert (cheat.value, cheat.failure) == (None, "invalid")
    assert "change when the future does" in cheat.log_tail


async def test_what_a_source_prints_or_writes_to_its_pipes_is_not_a_score(
    objective: Objective, layers: Layers, tmp_path: Path
) -> None:
    """It could claim more tokens than it had, so as to look cheap, or a value of its own."""
    claims = (
        '    print(\'METRIC value=0.001 {"metrics": {"value": 0.001}}\')\n'
        "    task._spent = 10 ** 12\n"
        "    return finish(model, state)\n"
    )
    source = BASELINE.replace("    return finish(model, state)\n", claims)
    assert source != BASELINE
    async with Runner(objective, layers, tmp_path, ignore) as runner:
        honest = await runner.run(objective.source, 3, ignore)
        liar = await runner.run(source, 3, ignore)
    assert liar.metrics["bits"] == honest.metrics["bits"]
    assert liar.tokens == honest.tokens == TOKENS


HANDS_ON = """

class Rejected(Exception):
    pass

def judge(data, rooms, seed, split, train_sample, incumbent):
    return {"value": 1.0, "given": float(len(incumbent))}, b"losses of this model"
"""


async def test_what_a_judge_hands_out_is_kept_for_a_child_at_the_same_seed(
    in_files: Objective, layers: Layers, tmp_path: Path
) -> None:
    (tmp_path / "judge.py").write_text(HANDS_ON)
    objective = replace(in_files, root=tmp_path)
    parent, child, seed = in_files.source, in_files.source + "\n# a child\n", 4
    async with Runner(objective, layers, tmp_path / "weights", ignore) as runner:
        too_early = await runner.run(child, seed, ignore, parent)
        await runner.run(parent, seed, ignore)
        beside = await runner.run(child, seed, ignore, parent)
        elsewhere = await runner.run(child, seed + 1, ignore, parent)
    given = len(b"losses of this model")
    assert [outcome.metrics["given"] for outcome in (too_early, beside, elsewhere)] == [0, given, 0]


@pytest.mark.parametrize("phase", ["train", "judge"])
async def test_cancelling_leaves_no_process(objective: Objective, layers: Layers, tmp_path: Path, phase: str) -> None:
    with trio.CancelScope() as scope:

        def cancel(progress: Progress) -> None:
            if progress.phase == phase:
                scope.cancel()

        async with Runner(objective, layers, tmp_path, ignore) as runner:
            await runner.run(objective.source, 1, cancel)
    assert scope.cancelled_caught
    assert not workers_left()


async def test_a_judge_that_fails_is_an_outcome_too(layers: Layers, objective: Objective, tmp_path: Path) -> None:
    """An objective may come from a stranger, so its judge is no more trusted to work than a source is."""

    def judged_by(code: str) -> Objective:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        root.mkdir()
        (root / "judge.py").write_text("class Rejected(Exception):\n    pass\n\n" + code)
        (root / "language.py").write_text((objective.root / "language.py").read_text())
        return replace(objective, root=root)

    body: Callable[[str], str] = "def judge(text, rooms, seed):\n    {}\n".format
    for code in ("raise KeyError('x')", "return {'value': float('nan')}", "__import__('os')._exit(0)"):
        async with Runner(judged_by(body(code)), layers, tmp_path / "weights", ignore) as runner:
            outcome = await runner.run(objective.source, 1, ignore)
        assert outcome.value is None, code
        assert outcome.failure is not None, code
