"""The judge: bits per byte of what the model says comes next.

It alone holds the text to be scored, and knows nothing of torch or of how the model was made: it asks a room for logits
and computes the loss itself, in float64. Every window is shown once, and one token of it is asked for: the one after a
place that is drawn. What the window shows behind that place is drawn as well, and has nothing to do with the text. So a
model that looks ahead sees noise, and no window tells anything about another: each is from words of its own.

The loss of all the tokens asked for is divided by their bytes, which `rooms.token_bytes` tells of each token.

The contract: a function `judge` as below, and an exception `Rejected`.
"""

import math

import numpy as np

CONTEXT = 32  # as in objective.toml
VOCABULARY = 509
CHECKPOINTS = 3
CHECKPOINT_WINDOWS = 128  # for each checkpoint; the final weights are scored on all the others
BATCH = 64  # windows a room is asked for at once
LOGIT_LIMIT = 1e4


class Rejected(Exception):
    """What the model answered is no prediction; the text says why."""


def judge(text, rooms, seed):
    """Score a model.

    text: what draw.py drew for the split that is scored, two bytes a token; rooms: where logits come from; seed: the
    run's.

    Returns finite numbers by name: "value" is the score, and "checkpoint_<step>" that of the weights after so many
    steps; where holdout text is scored, `rooms.steps` is empty. Raises Rejected.
    """
    windows = np.frombuffer(text, dtype="<u2").reshape(-1, CONTEXT + 1)
    early = windows[: CHECKPOINTS * CHECKPOINT_WINDOWS].reshape(CHECKPOINTS, CHECKPOINT_WINDOWS, CONTEXT + 1)
    dice = np.random.default_rng(seed)
    metrics = {}
    with rooms.open() as room:
        for number, step in enumerate(rooms.steps):
            room.select(number)
            metrics[f"checkpoint_{step}"] = bits_per_byte(room, early[number], rooms.token_bytes, dice)
        room.select(rooms.weights - 1)  # the final weights
        scored = windows[CHECKPOINTS * CHECKPOINT_WINDOWS :]
        metrics["value"] = bits_per_byte(room, scored, rooms.token_bytes, dice)
    return metrics


def bits_per_byte(room, windows, token_bytes, dice):
    """The loss at one place of each window (windows, CONTEXT + 1); every place is asked for equally often."""
    places = dice.permutation(len(windows)) % CONTEXT
    drawn = dice.integers(0, VOCABULARY, (len(windows), CONTEXT), dtype=np.uint16)
    shown = np.where(np.arange(CONTEXT) > places[:, None], drawn, windows[:, :-1])
    targets = windows[np.arange(len(windows)), places + 1].astype(np.int64)
    batches = [slice(start, start + BATCH) for start in range(0, len(windows), BATCH)]
    answers = room.next_token([(shown[batch], places[batch].astype(np.uint16)) for batch in batches])
    nats = [losses(logits, targets[batch]) for batch, logits in zip(batches, answers, strict=True)]
    return float(np.concatenate(nats).sum() / math.log(2) / token_bytes[targets].sum())


def losses(logits, targets):
    """-log softmax(logits)[target] in nats, for logits (batch, VOCABULARY). Raises Rejected for anything else."""
    if logits.shape != (len(targets), VOCABULARY) or not np.abs(logits).max() <= LOGIT_LIMIT:
        raise Rejected(f"logits of shape {logits.shape}, or one that is not finite or beyond {LOGIT_LIMIT:g}")
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)  # before anything else, or large equal logits would score 0
    return np.log(np.exp(shifted).sum(axis=-1)) - shifted[np.arange(len(targets)), targets]
