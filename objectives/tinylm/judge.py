"""The judge of tinylm: bits per byte, worked out here from the logits of one place in each window.

It alone holds the text to be scored. It knows nothing of torch or of how the model was made: it asks a room what comes
after a place of a window, and computes the loss itself, in float64. Why a room can answer in no way but by predicting:

- It is shown a window up to the place; what stands behind it is drawn by the judge, independent of the text. So looking
  ahead shows noise. The drawn token may by chance be the true one: were it never that, a room could rule it out.
- The target itself is shown nowhere, for each window is scored once, at one place, and never shown behind it.
- No window tells anything about another's target: language.py makes each from a document of its own, so windows share
  the language and nothing else, in whatever order or company they are shown. A room that remembers everything it was
  shown knows more of the language, as if it had trained on some more text, and nothing of what it will be asked.
- Text, places and noise are drawn from the run's seed after the source is fixed, and no room learns that seed.

All places from the first to the last are asked for equally often, as a mean over whole windows would weigh them.

All languages are of one family, and which byte stands for which letter can be told from how often letters follow each
other. So a source could carry weights trained on other languages. Therefore it pays for its length, as if whoever
stored a run's training text with the help of the model had to store the source too (minimum description length;
Rissanen 1978).
"""

import math

import numpy as np

CONTEXT = 64
VOCABULARY = 256
CHECKPOINTS = 3
CHECKPOINT_WINDOWS = 256  # for each checkpoint, the first ones; the final weights are scored on all the others
BATCH = 64  # windows a room is asked for at once
LOGIT_LIMIT = 1e4
# What a source has grown by, compressed, is paid for as if it had to be stored beside a run's training text, and twice,
# for there are better packers than zlib. Half of the known ideas pay less than .0011 bits per byte, a model of 8 bits
# a weight 2.9.
PRICE = 2
PAID_OVER = 524_288  # bytes


class Rejected(Exception):
    """What the model answered is no prediction; the text says why."""


def judge(text, rooms, seed):
    """Score a model.

    text: windows of CONTEXT + 1 bytes, one after the other; rooms: where logits come from; seed: the run's, so that
    both runs of a pair are asked the same.

    Returns {"value": bits per byte and the source's price, "bits": without it, "price": that alone, "windows": n,
    "checkpoint_<step>": bits per byte}; there are no checkpoints where holdout text is scored. Raises Rejected.
    """
    windows = np.frombuffer(text, dtype=np.uint8).reshape(-1, CONTEXT + 1).astype(np.uint16)
    early = windows[: CHECKPOINTS * CHECKPOINT_WINDOWS].reshape(CHECKPOINTS, CHECKPOINT_WINDOWS, CONTEXT + 1)
    final = windows[CHECKPOINTS * CHECKPOINT_WINDOWS :]
    dice = np.random.default_rng(seed)
    metrics = {"windows": float(len(final))}
    with rooms.open() as room:
        for number, step in enumerate(rooms.steps):
            room.select(number)
            metrics[f"checkpoint_{step}"] = bits_per_byte(room, early[number], dice)
        room.select(rooms.weights - 1)
        bits = bits_per_byte(room, final, dice)
    price = PRICE * 8 * rooms.source_growth / PAID_OVER
    return {**metrics, "value": bits + price, "bits": bits, "price": price}


def bits_per_byte(room, windows, dice):
    return float(losses(room, windows, dice).mean() / math.log(2))


def losses(room, windows, dice):
    """Nats at one place of each window (windows, CONTEXT + 1)."""
    places = dice.permutation(len(windows)) % CONTEXT
    noise = dice.integers(0, VOCABULARY, (len(windows), CONTEXT), dtype=np.uint16)
    shown = np.where(np.arange(CONTEXT) > places[:, None], noise, windows[:, :-1])
    targets = windows[np.arange(len(windows)), places + 1].astype(np.int64)
    batches = [slice(start, start + BATCH) for start in range(0, len(windows), BATCH)]
    answers = room.next_token([(shown[batch], places[batch].astype(np.uint16)) for batch in batches])
    found = [target_losses(checked(logits), targets[batch]) for batch, logits in zip(batches, answers, strict=True)]
    return np.concatenate(found)


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
