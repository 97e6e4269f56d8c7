"""nanolm: a GPT of 34 million parameters, plain and in good style. This is the file that research edits.

AdamW, RMSNorm, rotary positions, causal attention; on a GPU in bfloat16, and the step compiled. At the scale "cpu" the
same model is small enough for a minute of a processor; at "large" it is half as deep again and as wide.

The contract: `train(task)` returns a trained module that maps token ids (batch, context) to logits (batch, context,
vocabulary); `build(task)` makes the same module empty, so that trained weights can be loaded into it elsewhere.
`task` offers `seed`, `device`, `scale`, `context`, `vocabulary`, `progress` (0 to 1), `batches(size)`, which ends when
the budget is spent, `report(model, loss)`, to be called once per step, and `resumable(name=object)`, for what changes
from step to step, so that a run that is interrupted goes on.
"""

import torch
from torch import nn
from torch.nn import functional as F

DEPTH = (8, 2)  # layers; the second number is that at the scale "cpu"
WIDTH = (512, 128)
BATCH = (64, 8)  # windows of `context` tokens
HEAD = 64  # width of a head
MLP_RATIO = 4
ROTARY_BASE = 10_000
INIT_STD = 0.02
LR = 1e-3
BETA1 = 0.9
BETA2 = 0.95
EPSILON = 1e-8
WEIGHT_DECAY = 0.1
WARMUP = 0.02  # share of the budget
CLIP = 1.0  # norm of the gradient


def at_scale(task, pair, growth=1.0, multiple=1):
    """A size at the scale of this run: at "large" so many times the first of the pair, rounded down to a multiple."""
    size = pair[task.scale == "cpu"]
    return int(growth * size) // multiple * multiple if task.scale == "large" else size


# ---- model -----------------------------------------------------------------------------------------------------------


def make_norm(width):
    return nn.RMSNorm(width)


def activation(x):
    return F.gelu(x)


def rotary_angles(context):
    """Cosines and sines, (context, half of a head)."""
    frequencies = ROTARY_BASE ** (-torch.arange(0, HEAD, 2) / HEAD)
    angles = torch.outer(torch.arange(context), frequencies)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    """Turn each pair of a head's numbers by an angle that grows with the place (Su et al. 2021)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class Attention(nn.Module):
    def __init__(self, task, width, layer):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        cos, sin = rotary_angles(task.context)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def prepare(self, q, k):
        """Queries and keys, (batch, heads, time, width of a head), just before they meet."""
        cos, sin = self.cos[: q.size(2)].to(q.dtype), self.sin[: q.size(2)].to(q.dtype)
        return rotate(q, cos, sin), rotate(k, cos, sin)

    def forward(self, x, tokens):
        batch, time, width = x.shape
        q, k, v = self.qkv(x).split(width, dim=-1)
        q, k, v = (t.view(batch, time, width // HEAD, HEAD).transpose(1, 2) for t in (q, k, v))
        q, k = self.prepare(q, k)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = y.transpose(1, 2).reshape(batch, time, width)
        return self.out(y)


class MLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up = nn.Linear(width, MLP_RATIO * width, bias=False)
        self.down = nn.Linear(MLP_RATIO * width, width, bias=False)

    def forward(self, x):
        return self.down(activation(self.up(x)))


class Block(nn.Module):
    def __init__(self, task, width, layer):
        super().__init__()
        self.norm1 = make_norm(width)
        self.attention = Attention(task, width, layer)
        self.norm2 = make_norm(width)
        self.mlp = MLP(width)

    def forward(self, x, tokens):
        x = x + self.attention(self.norm1(x), tokens)
        return x + self.mlp(self.norm2(x))


class Model(nn.Module):
    def __init__(self, task):
        super().__init__()
        depth, width = at_scale(task, DEPTH, 1.5), at_scale(task, WIDTH, 1.5, HEAD)
        self.embedding = nn.Embedding(task.vocabulary, width)
        self.blocks = nn.ModuleList(Block(task, width, layer) for layer in range(depth))
        self.norm = make_norm(width)
        self.head = nn.Linear(width, task.vocabulary, bias=False)

    def embed(self, tokens):
        return self.embedding(tokens)

    def logits(self, x):
        return self.head(self.norm(x))

    def body(self, x, tokens):
        for block in self.blocks:
            x = block(x, tokens)
        return x

    def forward(self, tokens):
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=tokens.is_cuda):
            return self.logits(self.body(self.embed(tokens), tokens)).float()


def init_linear(name, linear):
    nn.init.normal_(linear.weight, 0.0, INIT_STD)


def init_embedding(name, embedding):
    nn.init.normal_(embedding.weight, 0.0, INIT_STD)


def init_weights(model):
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            init_linear(name, module)
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
    return min(1.0, (progress + 0.001) / WARMUP)


def loss_of(model, x, y):
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def prepare_gradients(model):
    """What is done to gradients between the backward pass and the optimizer's step."""
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)


def before_step(optimizers, progress):
    """What changes along the budget besides the learning rate."""


def after_step(model, state):
    """What is done after every step; `state` is an empty dict at the start, for whatever has to be remembered."""


def finish(model, state):
    return model


class State(dict):
    """A dict that is kept with the model and its optimizers while a run is interrupted."""

    def state_dict(self):
        return dict(self)

    def load_state_dict(self, kept):
        self.update(kept)


def train(task):
    torch.manual_seed(1000 + task.seed)
    model = build(task).to(task.device)
    optimizers = make_optimizers(model)
    full_rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    loss_of_step = torch.compile(loss_of) if task.device.type == "cuda" else loss_of
    state = State()
    task.resumable(model=model, optimizers=optimizers, state=state)
    for x, y in task.batches(at_scale(task, BATCH, 0.5)):
        for optimizer, rates in zip(optimizers, full_rates, strict=True):
            for group, full in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = full * rate(task.progress)
        before_step(optimizers, task.progress)
        loss = loss_of_step(model, x, y)
        model.zero_grad(set_to_none=True)
        loss.backward()
        prepare_gradients(model)
        for optimizer in optimizers:
            optimizer.step()
        after_step(model, state)
        task.report(model, loss)
    return finish(model, state)
