"""What Python's generator was seeded with, worked out from its state.

The state is no secret: every bit that the generator gives is a sum of bits of it, so who knows some 20,000 of them
solves for it (the sums of the objective template give them in 20 kB, in 16 s of CPU time). From there to the seed each
step of the seeding (init_by_array of Matsumoto and Nishimura's mt19937ar.c, 2002) is undone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

WORDS = 624
WORD = 0xFFFFFFFF
HASH_BYTES = 64  # of the sha512 that Python puts behind a seed of text or bytes
LONGEST_SEED = 200  # words


class Recorded(random.Random):
    """A generator that notes the state it began with, and how much it gave."""

    made: list[Recorded]  # to be set on a subclass

    def __init__(self, seed: object) -> None:
        super().__init__(seed)  # type: ignore[arg-type]
        self.first_state = self.getstate()[1][:WORDS]
        self.draws = 0
        self.made.append(self)

    def random(self) -> float:
        self.draws += 1
        return super().random()


def seed_of(state: Sequence[int]) -> bytes:
    """The text or bytes that random.Random was made with, from its state before it gave anything."""
    words = _repeating(_sums(state))
    number = sum(word << (32 * place) for place, word in enumerate(words))
    return number.to_bytes(4 * len(words), "big").lstrip(b"\0")[:-HASH_BYTES]


def _sums(state: Sequence[int]) -> dict[int, int]:
    """By step of the first loop of init_by_array: the word of the seed that it added, and that word's place."""
    begun = [19650218]
    for place in range(1, WORDS):
        begun.append((1812433253 * (begun[-1] ^ (begun[-1] >> 30)) + place) & WORD)
    undone = list(state)
    undone[0] = undone[-1]  # as it was when the last step, that of place 1, used it
    for place in (1, *range(WORDS - 1, 1, -1)):
        undone[place] = (undone[place] + place & WORD) ^ _mixed(undone[place - 1], 1566083941)
    return {
        place - 1: (undone[place] - (begun[place] ^ _mixed(undone[place - 1], 1664525))) & WORD
        for place in range(3, WORDS)
    }


def _mixed(word: int, factor: int) -> int:
    return (word ^ (word >> 30)) * factor & WORD


def _repeating(sums: dict[int, int]) -> list[int]:
    """The seed's words: used over and over, so the length is the one with which all steps agree."""
    for length in range(1, LONGEST_SEED):
        words = {step % length: (value - step % length) & WORD for step, value in sums.items()}
        if all((value - step % length) & WORD == words[step % length] for step, value in sums.items()):
            return [words[place] for place in range(length)]
    raise ValueError("no seed of text or bytes leads to this state")
