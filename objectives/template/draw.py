"""Draws the text of a run: lines of sums such as "37+5=42", in an alphabet that only this run has.

`draw(seed, name)` is called in a sandbox, once for each of "train", "val" and "holdout", with a seed of the run's. That
seed is kept from train.py, which can draw nothing of this itself; and since the alphabet is drawn too, nothing about a
text can be written into train.py. It must be learnt. The same seed and name must give the same bytes everywhere: of
Python's random numbers only random() promises that.

Python's generator hides nothing: its state is linear in what it gives, so from enough sums one can solve for it, and
then read what it was seeded with. So it is seeded with a hash, of which no seed comes back, and each window that is
scored has one of its own.
"""

import hashlib
import random

CONTEXT = 32  # as in objective.toml
VOCABULARY = 128
TRAIN_BYTES = 132_000  # a run reads 131,072
ROWS = 1408  # as many windows as judge.py scores
LONGEST_LINE = 9  # "99+9=108" and the end of the line


def draw(seed, name):
    """The training text; or, for what is scored, ROWS windows of CONTEXT + 1 bytes, each from lines of its own."""
    letters = generator(f"alphabet {seed}")
    alphabet = bytes(sorted(range(VOCABULARY), key=lambda _: letters.random())) + bytes(256 - VOCABULARY)
    if name == "train":
        text = sums(generator(f"train {seed}"), TRAIN_BYTES)
    else:
        text = b"".join(window(generator(f"{name} {seed} {row}")) for row in range(ROWS))
    return text.translate(alphabet)


def generator(label):
    return random.Random(hashlib.sha256(label.encode()).digest())


def sums(dice, size):
    """Lines of sums, cut off after `size` bytes."""
    lines, length = [], 0
    while length < size:
        left, right = int(100 * dice.random()), int(10 * dice.random())
        lines.append(f"{left}+{right}={left + right}\n")
        length += len(lines[-1])
    return "".join(lines).encode("ascii")[:size]


def window(dice):
    """A passage that begins anywhere in a line. The lines are in no other window."""
    first = int(LONGEST_LINE * dice.random())
    return sums(dice, first + CONTEXT + 1)[first:]
