"""tinylm: a byte-level decoder-only transformer, everything plain on purpose. This is the file that research edits.

The contract: `train(task)` returns a trained module that maps token ids (batch, context) to logits (batch, context,
vocabulary); `build(task)` makes the same module empty, so that trained weights can be loaded into it elsewhere.
`task` offers `seed`, `device`, `scale`, `context`, `vocabulary`, `progress` (0 to 1), `batches(size)`, which ends when
the token budget is spent, and `report(model, loss)`, to be called once per step.
"""

import torch
from torch import nn
from torch.nn import functional as F

DEPTH = 2  # layers; as WIDTH, at the objective's own scale
WIDTH = 64
HEADS = 4
MLP_RATIO = 4
BATCH = 16  # sequences of `context` bytes
LR = 1e-3
BETA1 = 0.9
BETA2 = 0.999
EPSILON = 1e-8
WEIGHT_DECAY = 0.01
INIT_STD = 0.3  # one constant for every weight matrix

GROWTH = {"": 1, "medium": 1.25, "large": 1.5}  # how many times as deep and as wide the model is at each scale


def at_scale(task, size, multiple=1):
    """A size at the scale of this run: 80 for 64 at the scale "medium", rounded down to a multiple."""
    growth = GROWTH[task.scale]
    return size if growth == 1 else int(growth * size) // multiple * multiple


# ---- model -----------------------------------------------------------------------------------------------------------


def make_norm(width):
    return nn.LayerNorm(width)


def activation(x):
    return F.gelu(x)


class Attention(nn.Module):
    def __init__(self, task, width):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def prepare(self, q, k):
        """Queries and keys, (batch, heads, time, width of a head), just before they meet."""
        return q, k

    def forward(self, x, tokens):
        batch, time, width = x.shape
        q, k, v = self.qkv(x).split(width, dim=-1)
        q, k, v = (t.view(batch, time, HEADS, width // HEADS).transpose(1, 2) for t in (q, k, v))
        q, k = self.prepare(q, k)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, time, width))


class MLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up = nn.Linear(width, MLP_RATIO * width)
        self.down = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x):
        return self.down(activation(self.up(x)))


class Block(nn.Module):
    def __init__(self, task, width):
        super().__init__()
        self.norm1 = make_norm(width)
        self.attention = Attention(task, width)
        self.norm2 = make_norm(width)
        self.mlp = MLP(width)

    def forward(self, x, tokens):
        x = x + self.attention(self.norm1(x), tokens)
        return x + self.mlp(self.norm2(x))


class Model(nn.Module):
    def __init__(self, task):
        super().__init__()
        depth, width = at_scale(task, DEPTH), at_scale(task, WIDTH, 2 * HEADS)
        self.embedding = nn.Embedding(task.vocabulary, width)
        self.positions = nn.Embedding(task.context, width)
        self.blocks = nn.ModuleList(Block(task, width) for _ in range(depth))
        self.norm = make_norm(width)
        self.head = nn.Linear(width, task.vocabulary, bias=False)

    def embed(self, tokens):
        return self.embedding(tokens) + self.positions.weight[: tokens.size(1)]

    def logits(self, x):
        return self.head(self.norm(x))

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, tokens)
        return self.logits(x)


def init_linear(name, linear):
    nn.init.normal_(linear.weight, 0.0, INIT_STD)


def init_embedding(name, embedding):
    nn.init.normal_(embedding.weight, 0.0, INIT_STD)


def init_weights(model):
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            init_linear(name, module)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init_embedding(name, module)


def build(task):
    model = Model(task)
    init_weights(model)
    return model


# ---- optimizer and loop ----------------------------------------------------------------------------------------------


def make_optimizers(model):
    return [
        torch.optim.AdamW(
            model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPSILON, weight_decay=WEIGHT_DECAY
        )
    ]


def rate(progress):
    """The share of the full learning rate at this share of the budget."""
    return 1.0


def prepare_gradients(model):
    """What is done to gradients between the backward pass and the optimizer's step."""


def loss_of(model, x, y):
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def after_step(model, state):
    """What is done after every step; `state` is an empty dict at the start."""


def finish(model, state):
    return model


def train(task):
    torch.manual_seed(1000 + task.seed)
    model = build(task).to(task.device)
    optimizers = make_optimizers(model)
    full_rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    state = {}
    for x, y in task.batches(BATCH):
        for optimizer, rates in zip(optimizers, full_rates, strict=True):
            for group, full in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = full * rate(task.progress)
        loss = loss_of(model, x, y)
        model.zero_grad(set_to_none=True)
        loss.backward()
        prepare_gradients(model)
        for optimizer in optimizers:
            optimizer.step()
        after_step(model, state)
        task.report(model, loss)
    return finish(model, state)
