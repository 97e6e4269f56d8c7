"""The judge of nanolm: bits per byte, worked out here from the logits of one place in each window.

It alone holds the text to be scored. It knows nothing of torch or of how the model was made: it asks a room what comes
after a place of a window, and computes the loss itself, in float64. Why a room can answer in no way but by predicting:

- It is shown a window up to the place; what stands behind it is drawn by the judge, independent of the text. So looking
  ahead shows noise. The drawn token may by chance be the true one: were it never that, a room could rule it out.
- The target is shown nowhere: each window lies in a stretch of the text of its own, and is asked about once.
- Which windows and places are asked for is drawn from the run's seed after the source is fixed, and no room learns that
  seed. A split has some ten megabytes of text, of which the largest source could carry a tenth, compressed.

The text is public, so a source could carry a part of it, or weights trained on it. Therefore it pays for its length, as
if the text had to be stored with the help of the model, and the source with it (minimum description length; Rissanen
1978).

All places from the first to the last are asked for equally often, as a mean over whole windows would weigh them. The
loss of all the tokens asked for is divided by their bytes.
"""

import math

import numpy as np

VOCABULARY = 8192
# By scale: tokens of a window, windows for the final weights, for each checkpoint, and in one question to a room.
FOR_A_GPU = (1024, 2048, 128, 8)
SIZES = {"": FOR_A_GPU, "large": FOR_A_GPU, "long": FOR_A_GPU, "cpu": (128, 1024, 128, 16)}
LOGIT_LIMIT = 1e4
# What a source has grown by, compressed, is paid for as if it had to be stored beside the text, four times: there are
# better packers than zlib, and what one of them stores saves more than it costs where the model itself packs worse. An
# edit of 300 bytes costs .001 bits per byte, the largest source .6.
PRICE = 4
PAID_OVER = 10_000_000  # bytes, about what a split has


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
    context, final, early, batch = SIZES[rooms.scale]
    dice = np.random.default_rng(seed)
    windows = drawn_windows(tokens, final + early * len(rooms.steps), context, dice)
    metrics = {"windows": float(final)}
    with rooms.open() as room:
        for number, step in enumerate(rooms.steps):
            room.select(number)
            shown, windows = windows[:early], windows[early:]
            metrics[f"checkpoint_{step}"] = bits_per_byte(room, shown, rooms.token_bytes, batch, dice)
        room.select(rooms.weights - 1)
        bits = bits_per_byte(room, windows, rooms.token_bytes, batch, dice)
    price = PRICE * 8 * rooms.source_growth / PAID_OVER
    return {**metrics, "value": bits + price, "bits": bits, "price": price}


def drawn_windows(tokens, count, context, dice):
    """So many windows of context + 1 tokens, in random order: the text is cut into stretches, each with one at most."""
    stretch = len(tokens) // count
    starts = stretch * dice.permutation(count) + dice.integers(0, stretch - context, count)
    return tokens[starts[:, None] + np.arange(context + 1)]


def bits_per_byte(room, windows, token_bytes, batch, dice):
    """The mean loss at one place of each window (windows, context + 1)."""
    nats, targets = losses(room, windows, batch, dice)
    return float(nats.sum() / math.log(2) / token_bytes[targets].sum())


def losses(room, windows, batch, dice):
    """Nats at one place of each window, and the tokens that were to be predicted."""
    count, context = len(windows), windows.shape[1] - 1
    places = dice.permutation(count) % context
    noise = dice.integers(0, VOCABULARY, (count, context), dtype=np.uint16)
    shown = np.where(np.arange(context) > places[:, None], noise, windows[:, :-1])
    targets = windows[np.arange(count), places + 1].astype(np.int64)
    batches = [slice(start, start + batch) for start in range(0, count, batch)]
    answers = room.next_token([(shown[each], places[each].astype(np.uint16)) for each in batches])
    found = [target_losses(checked(logits), targets[each]) for each, logits in zip(batches, answers, strict=True)]
    return np.concatenate(found), targets


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
