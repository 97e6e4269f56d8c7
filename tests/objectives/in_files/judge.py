"""The judge: bits per byte from logits, and a check that the model does not see the future.

It alone holds validation and holdout data, and knows nothing of torch or of how the model was made: it asks a room for
logits and computes the loss itself, in float64. Two rooms are asked one after the other. The first scores all windows;
when it is dead, places are drawn that it could not know of, and the second must give the same loss there with other
text in the place of the future. tinylm's judge does the same with more art: it draws probes where there is most to
gain, holds a model against its parent, and streams holdout text token by token. Take that one when the numbers matter.

The contract: a function `judge` as below, and an exception `Rejected`.
"""

import math

import numpy as np

CONTEXT = 32  # as in objective.toml
VOCABULARY = 128
BATCH = 64  # windows a room is asked for at once
PROBES = 256
TOLERANCE = 0.02  # nats; honest models agree to about 1e-6
LOGIT_LIMIT = 1e4


class Rejected(Exception):
    """What the model answered is not an honest prediction; the text says why."""


def judge(data, rooms, seed, split, train_sample, incumbent):
    """Score a model.

    data: bytes of the judge's files by name; rooms: where logits come from; seed: the run's; split: which of the data
    to score, "val" or "holdout"; train_sample: the first MiB of training data; incumbent: the bytes handed out here
    when the model's parent was scored with this seed on this split, or b"".

    Returns (metrics, bytes to hand out for a child of this model; b"" for none). Metrics are finite numbers by name:
    "value" is the score, and "checkpoint_<step>" that of the weights after so many steps. Raises Rejected.
    """
    windows = cut(data[split])
    metrics = {}
    with rooms.open() as room:  # leaving the block ends the room
        for number, step in enumerate(rooms.steps if split == "val" else ()):
            room.select(number)
            metrics[f"checkpoint_{step}"] = bits(losses(room, windows[: 2 * BATCH]))
        room.select(rooms.weights - 1)  # the final weights
        claimed = losses(room, windows)
    dice = np.random.default_rng()  # not from the seed: nobody may know what will be probed
    rows, places = dice.integers(0, len(windows), PROBES), dice.integers(0, CONTEXT, PROBES)
    with rooms.open() as room:
        room.select(rooms.weights - 1)
        found = losses(room, windows[rows], without_future(windows[rows, :-1], places, train_sample, dice))
    difference = np.abs(found[np.arange(PROBES), places] - claimed[rows, places])
    if not difference.max() <= TOLERANCE:
        raise Rejected(f"{int((difference > TOLERANCE).sum())} of {PROBES} predictions change when the future does")
    metrics["value"] = bits(claimed)
    return metrics, b""


def cut(text):
    """Disjoint windows of CONTEXT + 1 bytes, as a (windows, CONTEXT + 1) array of token ids."""
    tokens = np.frombuffer(text, dtype=np.uint8)
    count = len(tokens) // (CONTEXT + 1)
    return tokens[: count * (CONTEXT + 1)].reshape(count, CONTEXT + 1).astype(np.uint16)


def without_future(tokens, places, text, dice):
    """The same tokens (windows, CONTEXT) up to a place in each, and some passage of a text from there on."""
    changed = tokens.copy()
    for window, place in zip(changed, places, strict=True):
        start = dice.integers(0, len(text) - CONTEXT)
        window[place + 1 :] = np.frombuffer(text, dtype=np.uint8, count=CONTEXT, offset=start)[place + 1 :]
    return changed


def bits(nats):
    return float(nats.mean() / math.log(2))


def losses(room, windows, tokens=None):
    """Nats per target, (windows, CONTEXT) float64, given the windows themselves or other tokens (windows, CONTEXT).

    The last target of a window is never sent.
    """
    tokens = windows[:, :-1] if tokens is None else tokens
    starts = range(0, len(windows), BATCH)
    answers = room.each([tokens[start : start + BATCH] for start in starts])
    targets = [windows[start : start + BATCH, 1:] for start in starts]
    return np.concatenate([target_losses(*both) for both in zip(answers, targets, strict=True)])


def target_losses(logits, targets):
    """-log softmax(logits)[target] in nats. Raises Rejected for logits of another shape, or not finite."""
    if logits.shape != (*targets.shape, VOCABULARY) or not np.abs(logits).max() <= LOGIT_LIMIT:
        raise Rejected(f"logits of shape {logits.shape}, or one that is not finite or beyond {LOGIT_LIMIT:g}")
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)  # before anything else, or large equal logits would score 0
    chosen = np.take_along_axis(shifted, targets[..., None].astype(np.int64), axis=-1)[..., 0]
    return np.log(np.exp(shifted).sum(axis=-1)) - chosen
