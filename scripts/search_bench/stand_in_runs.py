"""What runs in the place of a node's runner share: one at a time, without weights that could be scored again."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from node.execution.run_progress import Progress
from node.execution.runs import Runs
from node.ledger.outcome import Outcome
from protocol.records import Failure


class StandInRuns:
    """Makes runs as `Runs` does, by `run`, which a subclass gives. of_node: the runner whose place it takes."""

    parallel_runs = 1

    def __init__(self, of_node: Runs) -> None:
        self.pause_gate, self.timing = of_node.pause_gate, of_node.timing

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def run(
        self, source: str, seed: int, progress: Callable[[Progress], None], incumbent: str | None = None
    ) -> Outcome:
        raise NotImplementedError

    async def run_pair(
        self,
        parent: str,
        child: str,
        seed: int,
        of_parent: Callable[[Progress], None],
        of_child: Callable[[Progress], None],
    ) -> tuple[Outcome, Outcome]:
        return await self.run(parent, seed, of_parent), await self.run(child, seed, of_child, parent)

    async def examine(self, source: str, seed: int, split: str, incumbent: str | None = None) -> Outcome:
        return Outcome(None, {}, (), 0, 0.0, 0.0, 0, Failure.EXCEPTION, "no weights are kept", "")

    async def cool_down(self) -> None: ...
