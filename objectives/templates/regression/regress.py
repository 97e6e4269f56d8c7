"""The file that research edits: least squares on the inputs, plain on purpose, so that there is something to find.

The contract: `prepare(task)` is called once, with the training set in `task.arrays`: "inputs" (examples, features) and
"targets" (examples). `answer(task, inputs)` then returns a number for each row of other inputs. What is kept in `task`
stays. `task` also offers `seed` and `threads`. numpy and torch can be imported.

UPPERCASE constants are found by the search over numbers; small functions are easy for an idea to replace.
"""

import numpy as np

RIDGE = 1.0  # how much large weights cost


def features_of(task, inputs):
    """What the weights are for: the inputs, and a constant. Shape (examples, numbers)."""
    return np.column_stack([np.ones(len(inputs)), inputs])


def prepare(task):
    features = features_of(task, task.arrays["inputs"])
    squares = features.T @ features + RIDGE * np.eye(features.shape[1])
    task.weights = np.linalg.solve(squares, features.T @ task.arrays["targets"])


def answer(task, inputs):
    return features_of(task, inputs) @ task.weights
