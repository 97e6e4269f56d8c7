"""The file that research edits: a small model of the next token, plain on purpose, so that there is something to
find.

The contract: `train(task)` returns a trained torch module that maps token ids (batch, context) to logits (batch,
context, vocabulary); `build(task)` makes the same module empty, with the same tensors in the same order, so that the
trained weights can be loaded into it elsewhere. `task` offers `seed`, `device`, `context`, `vocabulary`, `progress` (0
to 1), `batches(size)`, which ends when the token budget is spent, and `report(model, loss)`, to be called once per
step. `build` gets a task without `progress`, `batches` and `report`.

UPPERCASE constants are found by the search over numbers; small functions are easy for an idea to replace.
"""

import torch
from torch import nn
from torch.nn import functional as F

WIDTH = 32
BATCH = 16  # windows of `context` tokens
LR = 3e-3


class Model(nn.Module):
    """Reads from left to right, so that no prediction can depend on what comes after it."""

    def __init__(self, task):
        super().__init__()
        self.embedding = nn.Embedding(task.vocabulary, WIDTH)
        self.memory = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, task.vocabulary)

    def forward(self, tokens):
        states, _ = self.memory(self.embedding(tokens))
        return self.head(states)


def build(task):
    return Model(task)


def rate(progress):
    """The share of the full learning rate at this share of the budget."""
    return 1.0


def train(task):
    torch.manual_seed(1000 + task.seed)
    model = build(task).to(task.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    for inputs, targets in task.batches(BATCH):
        for group in optimizer.param_groups:
            group["lr"] = LR * rate(task.progress)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        task.report(model, loss)
    return model
