"""The model."""

from torch import nn

WIDTH = 32


class Model(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.embedding = nn.Embedding(task.vocabulary, WIDTH)
        self.memory = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, task.vocabulary)

    def forward(self, tokens):
        states, _ = self.memory(self.embedding(tokens))
        return self.head(states)
