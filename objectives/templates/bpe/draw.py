"""Draws the text of a run, sentences of made-up words, and cuts it into tokens by a fixed table: syllables and letters.

`draw(seed, name)` is called in a sandbox, once for each of "train", "val" and "holdout", with a seed of the run's, and
returns two bytes a token, little-endian. That seed is kept from train.py, which can draw nothing of this itself. The
table is the same in every run, but which words there are and what follows what is drawn anew, and so is which number
stands for which token, among tokens of one length; so nothing about a text can be written into train.py. It must be
learnt. The same seed and name must give the same bytes everywhere: of Python's random numbers only random() promises
that.

Your own table may come from anywhere, such as merges of a byte-pair encoding learnt from much text: put it in here as
a list of texts, and write the number of bytes of each into token_bytes.u8.
"""

import hashlib
import random
import struct

CONTEXT = 32  # as in objective.toml
TRAIN_TOKENS = 98_400  # a run reads 98,304
ROWS = 1408  # as many windows as judge.py scores
WORDS = 240  # of the language of a run
SUCCESSORS = 5  # words that commonly follow a word
LONGEST_TOKEN = 3

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SYLLABLES = [first + second for first in "bdfghklmnprstvwz" for second in "aeiou"]
TOKENS = [" ", ".", "\n", *LETTERS, *SYLLABLES, *(syllable + last for syllable in SYLLABLES for last in "lnrst")]
NUMBERS = {token: number for number, token in enumerate(TOKENS)}


def draw(seed, name):
    """The training text; or, for what is scored, ROWS windows of CONTEXT + 1 tokens, each from words of its own."""
    language, numbers = Language(generator(f"language {seed}")), shuffled(generator(f"numbers {seed}"))
    if name == "train":
        tokens = tokens_of(language.text(generator(f"train {seed}"), TRAIN_TOKENS))[:TRAIN_TOKENS]
    else:
        tokens = [token for row in range(ROWS) for token in window(language, generator(f"{name} {seed} {row}"))]
    return struct.pack(f"<{len(tokens)}H", *(numbers[token] for token in tokens))


def generator(label):
    return random.Random(hashlib.sha256(label.encode()).digest())


def shuffled(dice):
    """The number that stands for each of the table's in this run: that of some token of the same length."""
    numbers = {}
    for length in range(1, LONGEST_TOKEN + 1):
        alike = [number for number, token in enumerate(TOKENS) if len(token) == length]
        numbers |= zip(alike, sorted(alike, key=lambda number: dice.random()), strict=True)
    return numbers


class Language:
    """The words of a run, and which follow which."""

    def __init__(self, dice):
        syllables = [token for token in TOKENS if len(token) > 1]
        self.words = ["".join(one(dice, syllables) for _ in range(1 + int(3 * dice.random()))) for _ in range(WORDS)]
        self.after = [[int(WORDS * dice.random()) for _ in range(SUCCESSORS)] for _ in range(WORDS)]

    def text(self, dice, least):
        """At least so many tokens, as text."""
        parts, length, word = [], 0, int(WORDS * dice.random())
        while length < least:
            end = " " if dice.random() < 0.85 else ". " if dice.random() < 0.8 else ".\n"
            parts += [self.words[word], end]
            length += 2
            word = one(dice, self.after[word]) if dice.random() < 0.9 else int(WORDS * dice.random())
        return "".join(parts)


def one(dice, choices):
    return choices[int(len(choices) * dice.random())]


def window(language, dice):
    """A passage that begins anywhere in a word. The words are in no other window."""
    first = int(4 * dice.random())
    return tokens_of(language.text(dice, first + CONTEXT + 1))[first : first + CONTEXT + 1]


def tokens_of(text):
    """The longest token of the table that fits, from left to right."""
    tokens, place = [], 0
    while place < len(text):
        for length in range(LONGEST_TOKEN, 0, -1):
            token = NUMBERS.get(text[place : place + length])
            if token is not None:
                tokens.append(token)
                place += length
                break
    return tokens
