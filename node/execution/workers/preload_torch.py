"""What the fork server of the candidate and the examination workers does before it forks: import torch.

Torch also loads here what it loads of itself on first use. This takes a second and a half of CPU, and no
fork does it again. No source is ever run here.
"""

import importlib
import sys
import types
from typing import Any

import torch

from node.execution.workers import (  # noqa: F401  (forks read no file)
    arrays,
    budgets,
    chance,
    exchange,
    pauses,
    snapshot,
    source,
)

COMPILER = "torch._dynamo"


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    compile_on_request()
    warm_up()


class CompilerOnRequest(types.ModuleType):
    """Stands in for torch's compiler until the source asks to compile.

    Optimizers import the compiler only to exclude their own functions from compilation. The import takes 1.7 s of CPU,
    more than the rest of torch.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER], torch._dynamo
        return getattr(importlib.import_module(COMPILER), name)

    @staticmethod
    def disable(function: Any = None, recursive: bool = True, **_: Any) -> Any:
        """The function itself: it is never compiled while this stands in."""
        return function if function is not None else lambda given: given

    @staticmethod
    def graph_break(*_: Any, **__: Any) -> None:
        """Does nothing, as the compiler's own does outside of compiled code."""


def compile_on_request() -> None:
    stand_in = CompilerOnRequest(COMPILER)
    sys.modules[COMPILER] = torch._dynamo = stand_in


def warm_up(device: str = "cpu") -> None:
    """Take two steps on a small model: torch loads much of itself, optimizers above all, on first use."""
    model = torch.nn.Sequential(torch.nn.Embedding(8, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 8)).to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.zeros(2, 4, dtype=torch.int64, device=device)
    for _ in range(2):
        loss = torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
