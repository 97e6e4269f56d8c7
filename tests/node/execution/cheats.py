"""Training scripts that try to get a better score than they deserve, each with the outcome that it must have.

Shared by the tests and by `scripts/cheat_table.py`. All are tinylm's own script with a few lines exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tests.node.execution.small_objective import TINYLM

BASELINE = (TINYLM / "train.py").read_text()
STEP = "        task.report(model, loss)\n"  # the place for code that runs in every step
FORWARD = "        return self.logits(x)\n"  # the place for code that changes the model's answers
FINISH = "    return finish(model, state)\n"

# invalid: the judge rejects it and says why; worse: it scores, and no better than without; more text: it may score
# better, by what reading a little more of the language is worth; priced: it scores, and its CPU time counts against it;
# nothing: it scores as if it had not tried
Verdict = Literal["invalid", "worse", "more text", "priced", "nothing"]


@dataclass(frozen=True)
class Cheat:
    name: str
    source: str
    verdict: Verdict = "invalid"


def in_step(code: str) -> str:
    """The baseline with one more line in every step of the training."""
    assert STEP in BASELINE
    return BASELINE.replace(STEP, f"        {code}\n{STEP}")


def in_answer(code: str, more: str = "") -> str:
    """The baseline, whose trained model answers with `y`, made by `code` from honest logits `y` and token ids."""
    assert FORWARD in BASELINE
    changed = f"        y = self.logits(x)\n        if not self.training:\n            {code}\n        return y\n"
    return BASELINE.replace(FORWARD, changed) + more


def at_the_end(code: str) -> str:
    """The baseline with more lines after the training."""
    assert FINISH in BASELINE
    return BASELINE.replace(FINISH, "".join(f"    {line}\n" for line in code.splitlines()) + FINISH)


REMEMBER = """

def remember(y, tokens, seen={}):
    rows = tokens.tolist()
    for number, row in enumerate(rows):
        for place in range(4, len(row)):
            known = seen.get(tuple(row[place - 4 : place]))
            if known is not None:
                y[number, place - 1, known] += 10.0
    for row in rows:
        for place in range(4, len(row)):
            seen[tuple(row[place - 4 : place])] = row[place]
    return y
"""

ADAPT = """

def adapt(y, tokens, counts=torch.ones(256)):
    answer = y + (counts / counts.sum()).log()
    counts += torch.bincount(tokens.flatten(), minlength=256)
    return answer
"""

THREE_SEEDS = """

def train(task, once=train):
    held = list(task.batches(BATCH))
    task.batches = lambda size: iter(held)
    models = []
    for seed in range(3):
        task.seed = seed
        models.append(once(task))
    return models[0]
"""

TRAIN_WHEN_EXAMINED = """

class Carrier(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.inner = build_inner(task)
        self.register_buffer("text", torch.zeros(384, task.context + 1, dtype=torch.uint8))
        self.waits = True

    def forward(self, tokens):
        if self.waits and int(self.text.sum()):
            self.waits = False
            with torch.inference_mode(False), torch.enable_grad():
                self.inner = learn(self.inner.train(), self.text.clone().long())
        return self.inner(tokens)


def learn(model, text):
    (optimizer,) = make_optimizers(model)
    for _ in range(3):
        for rows in torch.arange(len(text)).split(BATCH):
            loss = loss_of(model, text[rows, :-1], text[rows, 1:])
            model.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


build_inner = build


def build(task):
    return Carrier(task)


def train(task):
    model = build(task)
    rows = [torch.cat([x, y[:, -1:]], 1) for x, y in task.batches(BATCH)]
    text = torch.cat(rows)[: len(model.text)]
    model.text[: len(text)] = text
    return model
"""

DONE = """import os, struct, sys, time
parts = [t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for t in model.state_dict().values()]
weights = memoryview(b''.join(parts))
where = os.lseek(int(sys.argv[3]), 0, os.SEEK_END)
os.write(int(sys.argv[2]), struct.pack('<cxxxIIQQ', b'W', 20, 0, where, len(weights)))
while weights: weights = weights[os.write(int(sys.argv[3]), weights):]
os.write(int(sys.argv[2]), struct.pack('<cxxxI', b'D', 0))
until = time.monotonic() + 10
while time.monotonic() < until: loss_of(model, x, y).backward()"""

CHEATS = [
    Cheat("looks one token ahead", in_answer("y[:, :-1].scatter_(2, tokens[:, 1:, None], 30.0)"), "worse"),
    Cheat(
        "looks ahead a little, everywhere",
        in_answer("y[:, :-1] += 0.5 * F.one_hot(tokens[:, 1:], y.size(-1))"),
        "worse",
    ),
    Cheat(
        "looks ahead in one window of fifty",
        in_answer("y[::50, :-1] += 20.0 * F.one_hot(tokens[::50, 1:], y.size(-1))"),
        "worse",
    ),
    Cheat("attends to what comes", BASELINE.replace("is_causal=True", "is_causal=self.training"), "worse"),
    Cheat("remembers what it was asked", in_answer("y = remember(y, tokens)", REMEMBER), "worse"),
    Cheat("learns while it is examined", in_answer("y = adapt(y, tokens)", ADAPT), "more text"),
    Cheat("answers in another shape", in_answer("y = y[:, :-1]")),
    Cheat("answers with another vocabulary", in_answer("y = y[..., :128]")),
    Cheat("answers with what is not finite", in_answer("y = y / 0")),
    Cheat("answers with huge logits that are no distribution", in_answer("y = torch.full_like(y, 3e38)")),
    Cheat("fails when examined", in_answer("raise RuntimeError('not today')")),
    Cheat(
        "builds a smaller model than it trains",
        BASELINE
        + "\ndef build(task, b=build, n=[]):\n"
        + "    n.append(1)\n    return b(task) if hasattr(task, 'tokens') else nn.Linear(3, 3)\n",
    ),
    Cheat("trains with three seeds and hands out one", BASELINE + THREE_SEEDS, "priced"),
    Cheat("trains while it is examined", BASELINE + TRAIN_WHEN_EXAMINED, "priced"),
    Cheat("takes back the tokens it spent", in_step("state['n'] = state.get('n', 0) + 1; "
          "task._spent -= (state['n'] < 40) * 1024"), "priced"),
    Cheat("says it was given more tokens", at_the_end("task._spent = 10**12"), "nothing"),
    Cheat("says that it is done and goes on", at_the_end(DONE), "nothing"),
    Cheat(
        "stops the clocks",
        at_the_end("import time\ntime.time = time.monotonic = time.perf_counter = time.process_time = lambda: 0.0"),
        "nothing",
    ),
    Cheat(
        "patches torch for the process that comes next",
        at_the_end("torch.Tensor.sum = torch.Tensor.mean = torch.softmax = lambda *a, **k: torch.zeros(1)"),
        "nothing",
    ),
    Cheat(
        "prints a score",
        at_the_end("print('METRIC value=0.001 {\"metrics\": {\"value\": 0.001}}', flush=True)"),
        "nothing",
    ),
]  # fmt: skip
