"""The judge of tinylm: bits per byte, worked out here from logits, and checks that the model cannot see the future.

It alone holds validation and holdout data. It knows nothing of torch or of how the model was made: it asks a room
for logits and computes the loss itself, in float64. Two rooms are asked one after the other. The first scores whole
windows. When it is dead, positions are drawn that it could not know of, and the second room must give the same loss
there with the true prefix and a decoy in place of the future; so looking ahead, memorising and learning during the
examination all show. Half of the positions are drawn blindly, half where the model gains most: over a bigram, and over
the incumbent it is to replace, beside whose losses a small dishonest gain cannot hide. A holdout score, which stands
behind a claim, is also streamed: some windows are gone through token by token, each revealed after its prediction, and
must give the same losses.
"""

import math

import numpy as np

CONTEXT = 64
VOCABULARY = 256
WINDOWS = 1024  # 64 KiB of validation data, drawn anew for every seed
CHECKPOINT_WINDOWS = 256
BATCH = 64  # windows a room is asked for at once
PROBES = 512
STREAMED = 64  # windows of a holdout examination that are revealed token by token
PROBE_TOLERANCE = 0.02  # nats, each; honest models agree to about 1e-6
MEAN_TOLERANCE = 1e-3  # nats, on average
LOGIT_LIMIT = 1e4
BIGRAM_PRIOR = 0.5


class Rejected(Exception):
    """What the model answered is not an honest prediction; the text says why."""


def judge(data, rooms, seed, split, train_sample, incumbent):
    """Score a model.

    data: {"val": bytes, "holdout": bytes}; rooms: where logits come from; seed: the run's seed, which also draws the
    validation windows, so that runs with the same seed are compared on the same text; split: "val" or "holdout";
    train_sample: training data for the bigram that probes are weighted by; incumbent: the losses handed out when the
    model's parent was scored with the same seed on the same split, or b"". They move probes, never the value.

    Returns (metrics, losses). Metrics are {"value": bits per byte, "checkpoint_<step>": bits per byte, "windows": n,
    "probes": n, "probe_max_difference": nats}, and "stream_max_difference" for the holdout. Losses are bytes, nats per
    target as float32 (windows, CONTEXT). Raises Rejected.
    """
    dice = np.random.default_rng([seed, 20])
    everything = cut(data[split])
    windows = everything if split == "holdout" else everything[dice.permutation(len(everything))[:WINDOWS]]
    metrics = {"windows": float(len(windows))}
    with rooms.open() as room:
        for number, step in enumerate(rooms.steps if split == "val" else ()):
            room.select(number)
            metrics[f"checkpoint_{step}"] = bits(losses(room, everything[:CHECKPOINT_WINDOWS]))
        room.select(rooms.weights - 1)
        claimed = losses(room, windows)
    expectations = [*incumbent_losses(incumbent, windows), bigram_losses(train_sample, windows)]
    probes = draw_probes(claimed, expectations, np.random.default_rng())
    metrics["probes"] = float(len(probes))
    with rooms.open() as room:
        room.select(rooms.weights - 1)
        found = probe_losses(room, windows, probes, train_sample)
        if split == "holdout":
            chosen = np.random.default_rng().permutation(len(windows))[:STREAMED]
            streamed = streamed_losses(room, windows[chosen], train_sample)
            metrics["stream_max_difference"] = compare(claimed[chosen], streamed)
    metrics["probe_max_difference"] = compare(claimed[probes[:, 0], probes[:, 1]], found)
    metrics["value"] = bits(claimed)
    return metrics, claimed.astype("<f4").tobytes()


def cut(text):
    """Disjoint windows of CONTEXT + 1 bytes, as a (windows, CONTEXT + 1) array of token ids."""
    tokens = np.frombuffer(text, dtype=np.uint8)
    count = len(tokens) // (CONTEXT + 1)
    return tokens[: count * (CONTEXT + 1)].reshape(count, CONTEXT + 1).astype(np.uint16)


def bits(nats):
    return float(nats.mean() / math.log(2))


def losses(room, windows):
    """Nats per target, (windows, CONTEXT) float64. The last target of a window is never sent."""
    batches = [windows[start : start + BATCH] for start in range(0, len(windows), BATCH)]
    answers = room.each([batch[:, :-1] for batch in batches])
    return np.concatenate(
        [
            target_losses(checked(logits, batch[:, :-1]), batch[:, 1:])
            for batch, logits in zip(batches, answers, strict=True)
        ]
    )


def answer(room, tokens):
    """The room's logits, checked."""
    return checked(room.logits(tokens), tokens)


def checked(logits, tokens):
    """Logits that are float32 (batch, CONTEXT, VOCABULARY), finite and within the limit. Raises Rejected."""
    expected = (len(tokens), CONTEXT, VOCABULARY)
    if logits.shape != expected or logits.dtype != np.float32:
        raise Rejected(f"logits of shape {logits.shape} where {expected} float32 was asked for")
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
    chosen = np.take_along_axis(shifted, targets[..., None].astype(np.int64), axis=-1)[..., 0]
    return np.log(np.exp(shifted, out=shifted).sum(axis=-1)) - chosen


def bigram_losses(train_sample, windows):
    """What a bigram model of the training data loses per target: the plain expectation that claims are held against."""
    tokens = np.frombuffer(train_sample, dtype=np.uint8).astype(np.int64)
    pairs = np.bincount(tokens[:-1] * VOCABULARY + tokens[1:], minlength=VOCABULARY**2)
    counts = pairs.reshape(VOCABULARY, VOCABULARY) + BIGRAM_PRIOR
    nats = -np.log(counts / counts.sum(axis=1, keepdims=True))
    return nats[windows[:, :-1], windows[:, 1:]]


def incumbent_losses(handed_out, windows):
    """[losses (windows, CONTEXT) that an earlier call handed out], or [] when they are none of these windows'."""
    if len(handed_out) != 4 * len(windows) * CONTEXT:
        return []
    nats = np.frombuffer(handed_out, dtype="<f4").reshape(len(windows), CONTEXT).astype(np.float64)
    return [nats] if np.isfinite(nats).all() else []


def draw_probes(claimed, expectations, dice):
    """Up to PROBES different places (window, position) of the claimed losses (windows, CONTEXT).

    Half are uniform. The other half is shared equally by the expectations, losses of the same shape, each drawing in
    proportion to the square of the claimed gain over it: uniform probes find many small dishonest gains, squares find
    few large ones. What one cannot use, for want of places with a gain, the next one has too.
    """
    places = claimed.size
    left = min(PROBES // 2, places // 2)
    chosen = dice.choice(places, size=left, replace=False)
    for number, expected in enumerate(expectations):
        gain = np.clip(expected - claimed, 0, None).ravel() ** 2
        gain[chosen] = 0.0
        share = min(left // (len(expectations) - number), np.count_nonzero(gain))
        if share:
            drawn = dice.choice(places, size=share, replace=False, p=gain / gain.sum())
            chosen = np.concatenate([chosen, drawn])
            left -= share
    return np.stack([chosen // claimed.shape[1], chosen % claimed.shape[1]], axis=1)


def probe_losses(room, windows, probes, decoy):
    """The losses at the probed places when everything after them is somebody else's text."""
    dice = np.random.default_rng()
    found = []
    for start in range(0, len(probes), BATCH):
        batch = probes[start : start + BATCH]
        tokens = windows[batch[:, 0], :-1].copy()
        for row, position in zip(tokens, batch[:, 1], strict=True):
            row[position + 1 :] = passage(decoy, dice)[position + 1 :]
        logits = answer(room, tokens)[np.arange(len(batch)), batch[:, 1]]
        found.append(target_losses(logits, windows[batch[:, 0], batch[:, 1] + 1]))
    return np.concatenate(found)


def streamed_losses(room, windows, decoy):
    """Losses (windows, CONTEXT) when a token is put in the place of its decoy only after it was to be predicted."""
    dice = np.random.default_rng()
    tokens = np.stack([passage(decoy, dice) for _ in windows]).astype(np.uint16)
    found = np.empty((len(windows), CONTEXT))
    for position in range(CONTEXT):
        tokens[:, position] = windows[:, position]
        found[:, position] = target_losses(answer(room, tokens)[:, position], windows[:, position + 1])
    return found


def passage(text, dice):
    """CONTEXT bytes from anywhere in a text."""
    start = dice.integers(0, len(text) - CONTEXT)
    return np.frombuffer(text, dtype=np.uint8, count=CONTEXT, offset=start)


def compare(claimed, found):
    """The largest difference in nats. Raises Rejected when the two rooms do not agree."""
    difference = np.abs(claimed - found)
    mismatches = int((difference > PROBE_TOLERANCE).sum())
    if mismatches:
        raise Rejected(f"{mismatches} of {len(found)} predictions change when the future does: the model looks ahead")
    if not abs(float((claimed - found).mean())) <= MEAN_TOLERANCE:
        raise Rejected("predictions change a little everywhere when the future does: the model looks ahead")
    return float(difference.max())
