"""The judge: the share of new examples that a program puts in their class.

It alone draws the examples and knows the right answers. It hands the program a training set, with labels of which some
are wrong, and then asks about others. Every run has other classes, so that nothing can be learned by heart.

The contract: a function `judge` as below, and an exception `Rejected`. `session` is the program:

    session.prepare(name=array, ...)   have it prepare with these arrays; once, before any question
    session.ask(inputs, shape)         the answer to an array, or a dictionary of arrays; `shape` is what it must have
    session.generator(label)           a generator of random numbers for this run; one for each thing that is drawn

Draw what is shown and what is asked from different generators: what a program can work out of the one then says nothing
about the other.
"""

import numpy as np

CLASSES = 4
FEATURES = 20
HIDDEN = 6  # numbers by which the classes differ; the features are mixtures of these and of noise
TRAIN, TEST = 1500, 6000
WRONG = 0.05  # of the training labels
BLOBS = 2  # of each class, so that no straight line parts them all


class Rejected(Exception):
    """What the program answered are no classes; the text says why."""


def judge(session, seed, split):
    """Score a program on a split, "val" or "holdout". Returns finite numbers by name: "value" is the score."""
    world = World(session.generator("world"))
    dice = session.generator("train")
    inputs, labels = world.examples(dice, TRAIN)
    wrong = dice.random(TRAIN) < WRONG
    session.prepare(inputs=inputs, labels=np.where(wrong, dice.integers(0, CLASSES, TRAIN), labels))
    inputs, labels = world.examples(session.generator(split), TEST)
    answers = session.ask(inputs, shape=(TEST,))
    if answers.dtype.kind not in "iu":
        raise Rejected(f"classes are whole numbers from 0 to {CLASSES - 1}, not {answers.dtype}")
    return {"value": np.mean(answers == labels)}


class World:
    """What the classes of one run look like."""

    def __init__(self, dice):
        self.centres = dice.normal(size=(CLASSES, BLOBS, HIDDEN))
        self.mixture = dice.normal(size=(HIDDEN, FEATURES)) / np.sqrt(HIDDEN)
        self.scale = np.exp(dice.normal(size=FEATURES))  # features come in units of their own

    def examples(self, dice, count):
        """(features of shape (count, FEATURES), classes)."""
        labels, blob = dice.integers(0, CLASSES, count), dice.integers(0, BLOBS, count)
        hidden = self.centres[labels, blob] + 0.7 * dice.normal(size=(count, HIDDEN))
        features = hidden @ self.mixture + 0.3 * dice.normal(size=(count, FEATURES))
        return (features * self.scale).astype(np.float32), labels
