"""Other policies of searching, on replayed runs: each makes its runs and says how good its best source is in truth.

They choose from what a node chooses from: the ideas of the catalogue, and values of the source's constants.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from node.objective.edits import EditError, SetConstant, apply
from node.objective.sources import constants, read
from node.proposers.catalogue import Idea
from search_bench.model import Drawn, Landscape
from search_bench.ranges import Axis, axis_of, shown
from search_bench.recording import drawn_constant, edits_of

SEED = 42  # of all runs
IDEA_CHANCE = 0.5  # that a drawn source has an idea of a category
CONSTANT_CHANCE = 0.3  # that it has another value of a constant
NUMERIC_SHARE = 0.3  # of the edits that a tree tries
DRAFTS = 5  # of a tree, before the best is improved (AIDE's default)
BRACKET = 8  # sources of one halving
RUNGS = (2, 4, 8)  # eighths of the budget after which half of them are ended
NOTHING = ""  # no idea of a category
MOST_STEPS = 20  # for each run; failed runs count as none


@dataclass
class World:
    """What a policy searches in. best: the source with the lowest value so far; spent: runs, as shares of a budget."""

    landscape: Landscape
    ideas: Mapping[str, Idea]
    dice: random.Random
    best: str = ""
    lowest: float = math.inf
    spent: float = 0.0
    _gains: list[tuple[float, float]] = field(default_factory=list)

    @property
    def baseline(self) -> str:
        return self.landscape.model.baseline

    def run(self, source: str, share: float = 1.0) -> Drawn:
        """Run a source for a share of the budget; a whole one may become the best."""
        drawn = self.landscape.run(source, SEED)
        self.spent += share if drawn.value is not None else 0.0
        if share == 1.0:
            self.keep(source, drawn)
        return drawn

    def keep(self, source: str, drawn: Drawn) -> None:
        if drawn.value is not None and drawn.value < self.lowest:
            self.best, self.lowest = source, drawn.value
            self._gains.append((self.spent, self.landscape.gain(source)))

    def gain_after(self, runs: float) -> float:
        """The true gain of what was the best after so many runs."""
        return ([gain for spent, gain in self._gains if spent <= runs] or [0.0])[-1]

    # ---- sources ---------------------------------------------------------------------------------------------------

    def categories(self) -> dict[str, list[str]]:
        """The titles of the ideas by category."""
        found: dict[str, list[str]] = {}
        for title, idea in self.ideas.items():
            found.setdefault(idea.category, []).append(title)
        return found

    def axes(self) -> dict[str, Axis]:
        """The baseline's constants with the ranges in which they are searched."""
        found = {constant.name: axis_of(constant) for constant in constants(read(self.baseline))}
        return {name: axis for name, axis in found.items() if axis is not None}

    def built(self, titles: Sequence[str], values: Mapping[str, float]) -> str:
        """The baseline with these ideas, as far as they apply, and these values of constants."""
        source = self.baseline
        for title in titles:
            source = self.edited(source, title) or source
        for name, value in values.items():
            try:
                source = apply(source, [SetConstant(name, shown(value))])
            except EditError:
                continue  # an idea took it away
        return source

    def edited(self, source: str, edit: str) -> str | None:
        try:
            return apply(source, edits_of(edit, self.ideas))
        except EditError:
            return None

    def drawn(self) -> str:
        """A source drawn at random: ideas of some categories, other values of some constants."""
        dice = self.dice
        titles = [dice.choice(ideas) for ideas in self.categories().values() if dice.random() < IDEA_CHANCE]
        values = {}
        for name, axis in self.axes().items():
            if dice.random() < CONSTANT_CHANCE:
                position = math.exp(dice.uniform(math.log(axis.low), math.log(axis.high)))
                values[name] = axis.flip(round(position) if axis.whole else position)
        return self.built(titles, values)


def random_search(world: World) -> Iterator[None]:
    """Every source is drawn anew from the baseline."""
    while True:
        world.run(world.drawn())
        yield


def greedy_tree(world: World) -> Iterator[None]:
    """Some drafts, then one edit of the best after the other, as AIDE searches (Jiang and others 2025)."""
    world.run(world.baseline)
    for _ in range(DRAFTS):
        world.run(world.drawn())
        yield
    while True:
        numeric = world.dice.random() < NUMERIC_SHARE
        edit = drawn_constant(world.best, world.dice) if numeric else world.dice.choice([*world.ideas])
        source = world.edited(world.best, edit) if edit is not None else None
        if source is not None and source != world.best:
            world.run(source)
            yield


def successive_halving(world: World) -> Iterator[None]:
    """Drawn sources by brackets: after each rung the better half goes on (Jamieson and Talwalkar 2016)."""
    while True:
        left = [world.drawn() for _ in range(BRACKET)]
        before = 0
        for rung in RUNGS:
            shown_losses = []
            for source in left:
                drawn = world.run(source, (rung - before) / RUNGS[-1] * 0.999)  # not a whole run by itself
                if drawn.value is not None:
                    shown_losses.append((drawn.curve[rung - 1] if rung < RUNGS[-1] else drawn.value, source))
                    if rung == RUNGS[-1]:
                        world.keep(source, drawn)
                yield
            before = rung
            left = [source for _, source in sorted(shown_losses)[: max(1, len(left) // 2)]]


def tpe(world: World) -> Iterator[None]:
    """Optuna's TPE over one idea or none of every category, and all constants of the baseline (Bergstra 2011)."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=world.dice.getrandbits(32))
    study = optuna.create_study(direction="minimize", sampler=sampler)
    while True:
        trial = study.ask()
        chosen = [trial.suggest_categorical(name, [NOTHING, *them]) for name, them in world.categories().items()]
        values = {}
        for name, axis in world.axes().items():
            if axis.whole:
                values[name] = float(trial.suggest_int(name, int(axis.low), int(axis.high)))
            else:
                values[name] = axis.flip(trial.suggest_float(name, axis.low, axis.high, log=True))
        drawn = world.run(world.built([title for title in chosen if title != NOTHING], values))
        failed = drawn.value is None
        study.tell(trial, None if failed else math.log(drawn.value), None if not failed else _failed())
        yield


def _failed() -> object:
    import optuna

    return optuna.trial.TrialState.FAIL


POLICIES: dict[str, Callable[[World], Iterator[None]]] = {
    "random search": random_search,
    "TPE": tpe,
    "successive halving": successive_halving,
    "greedy tree (AIDE)": greedy_tree,
}


def gains(policy: str, world: World, checkpoints: Sequence[int]) -> list[float]:
    """The true gain of the best source after so many runs, at each of these numbers."""
    for step, _ in enumerate(POLICIES[policy](world)):
        if world.spent >= checkpoints[-1] or step > MOST_STEPS * checkpoints[-1]:
            break
    return [world.gain_after(runs) for runs in checkpoints]
