"""The largest numbers of each row, in falling order, and where they are.

    scores   (rows, length), float32, float64 or int32; infinities and both zeros may be among them, NaN is not
    count    how many, from 1 to the length

Of equal ones the one further left comes first; both zeros are equal. Nothing is rounded, so the answer must be exact.
"""

import numpy as np


def topk(scores, count):
    """{"values": (rows, count), of the scores' type; "indices": the same, whole numbers}."""
    indices = order(scores)[:, :count]
    return {"values": np.take_along_axis(scores, indices, axis=1), "indices": indices}


def order(scores):
    """The places of each row by falling score. Sorted from the right, so that turning it around keeps ties in order."""
    rising = np.argsort(scores[:, ::-1], axis=1, kind="stable")
    return scores.shape[1] - 1 - rising[:, ::-1]
