"""The judge of a corpus: bits per byte, worked out here from the logits of one place in each window.

It alone holds the text to be scored. It knows nothing of torch or of how the model was made: it asks a room what comes
after a place of a window, and computes the loss itself, in float64. Why a room can answer in no way but by predicting:

- It is shown a window up to the place; what stands behind it is drawn by the judge, independent of the text. So looking
  ahead shows noise. The drawn token may by chance be the true one: were it never that, a room could rule it out.
- The target is shown nowhere: each window lies in a stretch of the text of its own, and is asked about once.
- Which windows and places are asked for is drawn from the run's seed after the source is fixed, and no room learns that
  seed. A split has at least twice as many bytes as the largest source.

Whoever has the text could put a part of it into a source, or weights trained on it. Therefore a source pays for its
length, as if the text had to be stored with the help of the model, and the source with it (minimum description length;
Rissanen 1978).

All places from the first to the last are asked for equally often, as a mean over whole windows would weigh them. The
loss of all the tokens asked for is divided by their bytes.
"""

import math

import numpy as np

CONTEXT = 64  # as in objective.toml
VOCABULARY = 1024
WINDOWS = 1024  # for the final weights
CHECKPOINT_WINDOWS = 64  # for each checkpoint
BATCH = 64  # windows a room is asked for at once
LOGIT_LIMIT = 1e4
# What a source has grown by, compressed, is paid for as if it had to be stored beside the text, four times: there are
# better packers than zlib, and what one of them stores saves more than it costs where the model itself packs worse.
PRICE = 4


class Rejected(Exception):
    """What the model answered is no prediction; the text says why."""


def judge(text, rooms, seed):
    """Score a model.

    text: all tokens of a split, two bytes each; rooms: where logits come from; seed: the run's, so that both runs of a
    pair are asked the same.

    Returns {"value": bits per byte and the source's price, "bits": without it, "price": that alone, "windows": n,
    "checkpoint_<step>": bits per byte}; there are no checkpoints where holdout text is scored. Raises Rejected.
    """
    tokens = np.frombuffer(text, dtype="<u2")
    dice = np.random.default_rng(seed)
    windows = drawn_windows(tokens, WINDOWS + CHECKPOINT_WINDOWS * len(rooms.steps), dice)
    metrics = {"windows": float(WINDOWS)}
    with rooms.open() as room:
        for number, step in enumerate(rooms.steps):
            room.select(number)
            shown, windows = windows[:CHECKPOINT_WINDOWS], windows[CHECKPOINT_WINDOWS:]
            metrics[f"checkpoint_{step}"] = bits_per_byte(room, shown, rooms.token_bytes, dice)
        room.select(rooms.weights - 1)
        bits = bits_per_byte(room, windows, rooms.token_bytes, dice)
    price = PRICE * 8 * rooms.source_growth / float(rooms.token_bytes[tokens].sum(dtype=np.int64))
    return {**metrics, "value": bits + price, "bits": bits, "price": price}


def drawn_windows(tokens, count, dice):
    """So many windows of CONTEXT + 1 tokens, in random order: the text is cut into stretches, each with one at most."""
    stretch = len(tokens) // count
    starts = stretch * dice.permutation(count) + dice.integers(0, stretch - CONTEXT, count)
    return tokens[starts[:, None] + np.arange(CONTEXT + 1)]


def bits_per_byte(room, windows, token_bytes, dice):
    """The mean loss at one place of each window (windows, CONTEXT + 1)."""
    count = len(windows)
    places = dice.permutation(count) % CONTEXT
    noise = dice.integers(0, VOCABULARY, (count, CONTEXT), dtype=np.uint16)
    shown = np.where(np.arange(CONTEXT) > places[:, None], noise, windows[:, :-1])
    targets = windows[np.arange(count), places + 1].astype(np.int64)
    batches = [slice(start, start + BATCH) for start in range(0, count, BATCH)]
    answers = room.next_token([(shown[each], places[each].astype(np.uint16)) for each in batches])
    nats = [target_losses(checked(logits), targets[each]) for each, logits in zip(batches, answers, strict=True)]
    return float(np.concatenate(nats).sum() / math.log(2) / token_bytes[targets].sum())


def checked(logits):
    """Logits that are float32 (windows, VOCABULARY), finite and within the limit. Raises Rejected."""
    if logits.shape[1:] != (VOCABULARY,) or logits.dtype != np.float32:
        raise Rejected(f"logits of shape {logits.shape} where {VOCABULARY} float32 for each window were asked for")
    if not np.abs(logits).max() <= LOGIT_LIMIT:  # written so that NaN fails too
        raise Rejected(f"a logit is not finite or beyond {LOGIT_LIMIT:g}")
    return logits


def target_losses(logits, targets):
    """-log softmax(logits)[target] in nats, float64.

    The maximum is subtracted before anything else: logsumexp(y) - y[t] in the textbook's order gives 0 for equal logits
    large enough to absorb the logarithm.
    """
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=-1)) - shifted[np.arange(len(targets)), targets]
