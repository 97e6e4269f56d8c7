"""The judge of a public text: bits per byte at places that nobody can know, and a price for what a source could hold.

The text is no secret, so a source could carry it. Three things make that useless. The places are drawn by the run's
seed, which no room learns. There are far more of them than a source has room for. And a source pays for its length: it
can hold so many bits as it has grown by, compressed, and these are spread over the whole text, as if its bytes had to
be stored too (minimum description length; Rissanen 1978).
"""

import math

import numpy as np

CONTEXT = 32
VOCABULARY = 128
WINDOWS = 1024  # for each set of weights, all of them different
BATCH = 64
SLOT = 3 * CONTEXT  # bytes of text for each window, so that between two of them is more than one
# What is stored by a better packer than the model saves more than it costs: that many times the model's bits over the
# packer's. A model that needs four times what a packer needs has learnt nothing yet.
PRICE = 4
LOGIT_LIMIT = 1e4


class Rejected(Exception):
    """What the model answered is no prediction; the text says why."""


def judge(text, rooms, seed):
    """Returns {"value": bits per byte and the price of the source, "bits": without it, "price": that alone}."""
    dice = np.random.default_rng(seed)
    slots = dice.permutation(len(text) // SLOT)[: rooms.weights * WINDOWS].reshape(rooms.weights, WINDOWS)
    metrics = {}
    with rooms.open() as room:
        for number, step in enumerate(rooms.steps):
            room.select(number)
            metrics[f"checkpoint_{step}"] = bits_per_byte(room, text, slots[number], dice)
        room.select(rooms.weights - 1)
        bits = bits_per_byte(room, text, slots[-1], dice)
    price = PRICE * 8 * rooms.source_growth / len(text)
    return {**metrics, "value": bits + price, "bits": bits, "price": price}


def bits_per_byte(room, text, slots, dice):
    """The mean loss after one place of a window in each of these slots of the text."""
    starts = SLOT * slots + dice.integers(0, SLOT - CONTEXT, len(slots))
    windows = np.frombuffer(text, dtype=np.uint8)[starts[:, None] + np.arange(CONTEXT + 1)].astype(np.uint16)
    places = dice.permutation(len(windows)) % CONTEXT
    noise = dice.integers(0, VOCABULARY, (len(windows), CONTEXT), dtype=np.uint16)
    shown = np.where(np.arange(CONTEXT) > places[:, None], noise, windows[:, :-1])
    targets = windows[np.arange(len(windows)), places + 1].astype(np.int64)
    batches = [slice(start, start + BATCH) for start in range(0, len(windows), BATCH)]
    answers = room.next_token([(shown[batch], places[batch].astype(np.uint16)) for batch in batches])
    nats = [losses(logits, targets[batch]) for batch, logits in zip(batches, answers, strict=True)]
    return float(np.concatenate(nats).mean() / math.log(2))


def losses(logits, targets):
    if logits.shape != (len(targets), VOCABULARY) or not np.abs(logits).max() <= LOGIT_LIMIT:
        raise Rejected(f"logits of shape {logits.shape}, or one that is not finite or beyond {LOGIT_LIMIT:g}")
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=-1)) - shifted[np.arange(len(targets)), targets]
