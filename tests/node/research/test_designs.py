"""Several ideas at once, where a run's noise is large beside what ideas gain."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from pathlib import Path
from typing import cast

from msgspec import structs

from node.execution.runner import Runner
from node.ledger.outcome import Outcome
from node.objective.schema import Prior
from node.research.loop import Research
from node.trials.cached_runner import CachedRunner
from protocol.records import Effect, Experiment, Failure
from tests.node.conftest import outcome
from tests.node.records_for_tests import Author, experiment
from tests.node.research.test_loop import Trainer, unmeasured_research

LINES = [f"part_{number} = 0" for number in range(14)]
GAINS = {2: 0.03, 9: 0.02, 5: -0.03, 11: -0.02}  # of editing these parts; the others do nothing
NOISE = 0.008
SHOWN = 12  # ideas before, which showed next to nothing


def edited(baseline: str, part: int) -> str:
    return baseline.replace(f"part_{part} = 0\n", f"part_{part} = 1\n")


class Noisy(Trainer):
    """Each edited part adds its gain, and every run its own noise. A source with part 7 edited does not run."""

    async def run(self, text: str, seed: int, _: object = None, incumbent: str | None = None) -> Outcome:
        self.made.append((text, seed))
        noise = random.Random(f"{seed}").gauss(0, NOISE)
        gain = sum(gain for part, gain in GAINS.items() if f"part_{part} = 1\n" in text)
        made = outcome(4.0 * (1 - gain + noise))
        return replace(made, value=None, failure=Failure.EXCEPTION) if "part_7 = 1\n" in text else made


def noisy_research(cached_runner: CachedRunner, folder: Path) -> tuple[Research, str, Noisy]:
    """Research on a source of parts, with an idea for each of them, after many that showed next to nothing."""
    identity = Author("alice").identity
    small = {"batch": Prior(0.1, 0.004)}
    cached_runner.objective = replace(cached_runner.objective, priors=small, class_priors={})
    text = "".join(f"{line}\n\n\n\nX = 0\n\n\n\n" for line in LINES)
    research = unmeasured_research(cached_runner, folder, *(edited(text, part) for part in range(len(LINES))))
    cached_runner.ledger.put_blob(text.encode())
    research.incumbent.source = lambda: hashlib.sha256(text.encode()).digest()  # type: ignore[method-assign]
    trainer = Noisy(cached_runner, {})
    cached_runner.runner = cast(Runner, trainer)
    for number in range(SHOWN):
        shown = experiment(f"idea {number}", decision="no_gain", effect=Effect(0.002 * (-1) ** number, 0.01, 1))
        cached_runner.ledger.append_own(identity, structs.replace(shown, pairs=()), 1)
    return research, text, trainer


async def test_where_gains_are_small_beside_noise_several_ideas_are_run_together(
    cached_runner: CachedRunner, tmp_path: Path
) -> None:
    research, text, trainer = noisy_research(cached_runner, tmp_path)
    assert research.designs.plan().edits >= 7
    assert await research.turn() is not None
    own = [record.body for record in cached_runner.ledger.feed(Author("alice").key)][SHOWN:]
    bodies = [body for body in own if isinstance(body, Experiment)]
    assert {body.design for body in bodies} == {len(trainer.made)}
    assert len({seed for _, seed in trainer.made}) == len(trainer.made), "a seed of its own for every run"
    before_and_after = [[cached_runner.source_text(one) for one in (body.parent, body.child)] for body in bodies]
    of_part_2 = [["part_2 = 1\n" in source for source in sources] == [False, True] for sources in before_and_after]
    best = bodies[of_part_2.index(True)]
    assert best.is_bet
    assert best.effect is not None
    assert abs(best.effect.mean + GAINS[2]) < 3 * best.effect.se
    crashed = [body for body in bodies if body.decision == "failed"]
    assert [body.child for body in crashed] == [hashlib.sha256(edited(text, 7).encode()).digest()]
    assert all(body.effect is None for body in crashed)


async def test_each_bet_of_a_design_is_built_on_the_one_before(cached_runner: CachedRunner, tmp_path: Path) -> None:
    research, text, _ = noisy_research(cached_runner, tmp_path)
    await research.turn()
    own = [record.body for record in cached_runner.ledger.feed(Author("alice").key)]
    bets = [body for body in own if isinstance(body, Experiment) and body.is_bet]
    assert [bet.parent for bet in bets[1:]] == [bet.child for bet in bets[:-1]]
    assert bets[0].parent == hashlib.sha256(text.encode()).digest()
    together = cached_runner.source_text(bets[-1].child)
    assert together.count("= 1\n") - text.count("= 1\n") == len(bets)
