"""Fixed: the data, the time of a run and the metric. Writes a small text below the cache once."""

import itertools
import math
import os
import random

TIME_BUDGET = 0.2  # seconds of training
EVAL_TOKENS = 4000
VOCAB_SIZE = 16
CACHE_DIR = os.path.join(os.path.expanduser("~"), ".cache", "autoresearch-example")


class Tokenizer:
    """Letters as numbers."""

    letters = "abcdefghijklmnop"

    def encode(self, text):
        return [self.letters.index(letter) for letter in text]


def make_text(seed, length):
    """Letters of which each depends on the one before, so that a bigram model beats a unigram one."""
    rng = random.Random(seed)
    letter, text = 0, []
    for _ in range(length):
        letter = (letter * 3 + 1) % VOCAB_SIZE if rng.random() < 0.7 else rng.randrange(VOCAB_SIZE)
        text.append(Tokenizer.letters[letter])
    return "".join(text)


def load(split):
    """The text of a split, from the cache where `python prepare.py` has put it, else made again."""
    path = os.path.join(CACHE_DIR, split + ".txt")
    if os.path.exists(path):
        with open(path) as file:
            return file.read()
    return make_text({"train": 1, "val": 2}[split], 20000 if split == "train" else EVAL_TOKENS)


def evaluate_bpb(predict, tokenizer):
    """Bits per letter of the validation text. predict(previous) gives a probability for each letter."""
    tokens = tokenizer.encode(load("val"))
    bits = 0.0
    for previous, following in itertools.pairwise(tokens):
        bits -= math.log2(max(1e-9, predict(previous)[following]))
    return bits / (len(tokens) - 1)


if __name__ == "__main__":
    os.makedirs(CACHE_DIR, exist_ok=True)
    for split in ("train", "val"):
        text = load(split)
        with open(os.path.join(CACHE_DIR, split + ".txt"), "w") as file:
            file.write(text)
    print("data in", CACHE_DIR)
