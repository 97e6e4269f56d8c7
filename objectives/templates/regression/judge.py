"""The judge: how far a program is off, as the root of the mean squared error on new examples.

It alone draws the examples and knows the right answers. It hands the program a training set and then asks about others.
Every run has another relation between inputs and target, so that nothing can be learned by heart.

The contract: a function `judge` as below, and an exception `Rejected`. `session` is the program:

    session.prepare(name=array, ...)   have it prepare with these arrays; once, before any question
    session.ask(inputs, shape)         the answer to an array, or a dictionary of arrays; `shape` is what it must have
    session.generator(label)           a generator of random numbers for this run; one for each thing that is drawn

Draw what is shown and what is asked from different generators: what a program can work out of the one then says nothing
about the other.
"""

import numpy as np

FEATURES = 8
WAVES = 6  # of which the relation is made
TRAIN, TEST = 2000, 6000
NOISE = 0.1  # of the targets, so no program gets below this


class Rejected(Exception):
    """What the program answered are no numbers; the text says why."""


def judge(session, seed, split):
    """Score a program on a split, "val" or "holdout". Returns finite numbers by name: "value" is the score."""
    relation = Relation(session.generator("relation"))
    inputs, targets = relation.examples(session.generator("train"), TRAIN)
    session.prepare(inputs=inputs, targets=targets)
    inputs, targets = relation.examples(session.generator(split), TEST)
    answers = session.ask(inputs, shape=(TEST,)).astype(np.float64)
    if not np.isfinite(answers).all():
        raise Rejected("an answer is not finite")
    return {"value": np.sqrt(np.square(answers - targets).mean())}


class Relation:
    """How the target of one run depends on the inputs: a slope, and waves across some directions."""

    def __init__(self, dice):
        self.slope = dice.normal(size=FEATURES) / np.sqrt(FEATURES)
        self.directions = dice.normal(size=(FEATURES, WAVES)) / np.sqrt(FEATURES)
        self.phases = dice.uniform(0, 2 * np.pi, WAVES)
        self.heights = dice.uniform(0.3, 1.0, WAVES)

    def examples(self, dice, count):
        """(inputs of shape (count, FEATURES), targets)."""
        inputs = dice.uniform(-2, 2, (count, FEATURES))
        waves = np.sin(1.5 * inputs @ self.directions + self.phases) @ self.heights
        return inputs, inputs @ self.slope + waves + NOISE * dice.normal(size=count)
