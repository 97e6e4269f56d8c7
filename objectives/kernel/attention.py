"""Causal attention of queries and keys that are normalised first, in several heads of different lengths.

    queries, keys, values   (heads, places, width), float16, float32 or float64
    lengths                 (heads,): a head has keys and values at its first places only; at least one
    sharpness               (heads,), float64: what the scores of a head are multiplied by

A place sees the keys up to its own, as far as there are any. Queries and keys are divided by the root of their mean
square. What lies in keys and values behind a head's length is anything, also no number.
"""

import numpy as np

TINY = 1e-6  # belongs to the task: is added to a mean square, so that a row of zeros can be divided


def attention(queries, keys, values, lengths, sharpness):
    """The weighted means of the values, shaped like the queries and in their type."""
    answer = np.empty_like(queries)
    for number, length in enumerate(lengths):
        key, value = keys[number, :length], values[number, :length]
        answer[number] = head(queries[number], key, value, sharpness[number])
    return answer


def head(query, key, value, sharpness):
    """The attention of one head, in the type in which it is worked out."""
    scores = scored(query, key, sharpness)
    return softmax(masked(scores)) @ widened(value)


def widened(numbers):
    """The numbers in the type in which the attention is worked out."""
    return numbers.astype(np.float64)


def scored(query, key, sharpness):
    """How well each query fits each key, (queries, keys)."""
    return sharpness / np.sqrt(query.shape[1]) * (normalised(query) @ normalised(key).T)


def normalised(rows):
    """Rows divided by the root of their mean square."""
    rows = widened(rows)
    return rows / np.sqrt(np.mean(rows**2, axis=1, keepdims=True) + TINY)


def masked(scores):
    """The scores, minus infinity where a place would look ahead."""
    ahead = np.arange(scores.shape[1]) > np.arange(scores.shape[0])[:, None]
    return np.where(ahead, -np.inf, scores)


def softmax(scores):
    """Each row as weights that add up to 1."""
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
