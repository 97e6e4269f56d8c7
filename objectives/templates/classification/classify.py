"""The file that research edits: a linear classifier, plain on purpose, so that there is something to find.

The contract: `prepare(task)` is called once, with the training set in `task.arrays`: "inputs" (examples, features) and
"labels" (examples), some of which are wrong. `answer(task, inputs)` then returns a class for each row of other inputs,
as whole numbers. What is kept in `task` stays. `task` also offers `seed` and `threads`. numpy and torch can be
imported.

UPPERCASE constants are found by the search over numbers; small functions are easy for an idea to replace.
"""

import torch
from torch import nn
from torch.nn import functional as F

CLASSES = 4
LR = 1e-2
STEPS = 150
BATCH = 64
DECAY = 0.0


def make_model(features):
    return nn.Linear(features, CLASSES)


def features_of(task, inputs):
    """What the model sees of the inputs."""
    return torch.from_numpy(inputs)


def prepare(task):
    torch.manual_seed(1000 + task.seed)
    inputs, labels = features_of(task, task.arrays["inputs"]), torch.from_numpy(task.arrays["labels"])
    task.model = make_model(inputs.shape[1])
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=LR, weight_decay=DECAY)
    for _ in range(STEPS):
        chosen = torch.randint(len(inputs), (BATCH,))
        loss = F.cross_entropy(task.model(inputs[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def answer(task, inputs):
    with torch.no_grad():
        return task.model(features_of(task, inputs)).argmax(dim=1).numpy()
