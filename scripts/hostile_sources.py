"""Training scripts that a hostile peer offers as its discoveries, each with what must come of it.

Every one is the objective's own baseline with one function exchanged, so it is fetched, started and judged like any
other. A script that gets through to what it is after says so with the word in ESCAPED.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent

from node.objective.edits import ReplaceDefinition, apply

ESCAPED = "GOT THROUGH"
EVERY_DESCRIPTOR = """
import os
for number in range(1, 256):
    try:
        os.write(number, b'{"value": 0.1}\\n')
    except OSError:
        pass
return model
"""


@dataclass(frozen=True)
class HostileSource:
    """`expected` is part of the log event that refuses it: its failure, its last output, or its decision."""

    name: str
    source: str
    expected: str


class _Workshop:
    """Makes hostile scripts of an honest one."""

    def __init__(self, baseline: str) -> None:
        self._baseline = baseline

    def at_the_end(self, name: str, body: str, expected: str) -> HostileSource:
        """A script that does something with what it may reach, once it has trained."""
        code = "def finish(model, state):\n" + indent(body, "    ")
        return HostileSource(name, apply(self._baseline, [ReplaceDefinition("finish", code)]), expected)

    def reaching(self, name: str, attempt: str) -> HostileSource:
        return self.at_the_end(name, f"{attempt}\nraise SystemExit({ESCAPED!r})", "Error")

    def model(self, name: str, answer: str, expected: str) -> HostileSource:
        """A script whose model answers something else than what it has learnt (`honest`)."""
        code = (
            "def forward(self, tokens):\n"
            "    x = self.embed(tokens)\n"
            "    for block in self.blocks:\n"
            "        x = block(x, tokens)\n"
            "    honest = self.logits(x)\n"
            f"    return {answer}\n"
        )
        return HostileSource(name, apply(self._baseline, [ReplaceDefinition("Model.forward", code)]), expected)


def hostile_sources(baseline: str, key: str, port: int) -> list[HostileSource]:
    """All of them. key: the path of the victim's signing key. port: one on which the victim listens."""
    made = _Workshop(baseline)
    return [
        made.reaching("reads the node's key", f"open({key!r}).read()"),
        made.reaching("reads the machine's users", "open('/etc/passwd').read()"),
        made.reaching("writes into the node's home", f"open({key + '.new'!r}, 'w')"),
        made.reaching("opens a socket", f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=5)"),
        made.reaching("has a program read the key", f"import subprocess\nsubprocess.run(['cat', {key!r}], check=True)"),
        made.at_the_end(
            "prints a fake score",
            "print('val_bpb: 0.1', 'METRIC val_bpb=0.1', '{\"value\": 0.1}', sep='\\n', flush=True)\nreturn model",
            r"\+0\.0 %",
        ),
        made.at_the_end("writes a fake score to every descriptor", EVERY_DESCRIPTOR, "invalid|output|exception"),
        made.at_the_end("forks for ever", "import os\nwhile True:\n    os.fork()", "memory|exception"),
        made.at_the_end("eats memory", "held = []\nwhile True:\n    held.append(bytearray(50_000_000))", "memory"),
        made.at_the_end("never ends", "while True:\n    pass", "timeout"),
        made.at_the_end("floods its output", "while True:\n    print('x' * 100_000)", "output"),
        made.at_the_end(
            "hands out a gigabyte of weights",
            "model.more = nn.Parameter(torch.zeros(250_000_000))\nreturn model",
            "memory|output|invalid|exception",
        ),
        HostileSource("is no program", baseline + "\ndef (:\n", "syntax"),
        made.model("looks ahead", "honest + 30.0 * F.one_hot(torch.roll(tokens, -1, 1), honest.size(-1))", "invalid"),
        made.model(
            "answers with what is not a number", "honest if self.training else honest * float('nan')", "invalid"
        ),
        made.model("answers in another shape", "honest if self.training else honest[..., :2]", "invalid|exception"),
    ]
