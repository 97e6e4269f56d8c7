"""The first of the files that research edits: which kernel a question is for.

The contract: `answer(task, inputs)` gets a dictionary of numpy arrays and returns an array, or a dictionary of arrays.
`prepare(task)` may be added; it is called once before, without arrays. What a question is for, its names say:

    heat, conductivity, steps                             diffusion.py, the heat after so many steps
    queries, keys, values, lengths, sharpness             attention.py, causal attention of normalised queries and keys
    scores, count                                         topk.py, the largest of each row, and where they are

Every question has inputs of its own, of any size from one number up and of several types. numpy and torch can be
imported. Answers have the type of what was asked about, and are compared with a reference in float64.
"""

from attention import attention
from diffusion import diffusion
from topk import topk


def answer(task, inputs):
    if "heat" in inputs:
        return diffusion(inputs["heat"], inputs["conductivity"], int(inputs["steps"]))
    if "queries" in inputs:
        names = ("queries", "keys", "values", "lengths", "sharpness")
        return attention(*(inputs[name] for name in names))
    return topk(inputs["scores"], int(inputs["count"]))
