"""The budget of a training: so many tokens, or so many seconds of the device. Part of the worker that trains.

Seconds are those in which the process computes, shared among its threads: of a processor, CPU seconds, so that time in
which other programs had it, or the node held the process, does not count. Compiling and warming up are not training, so
the first steps are forgiven what they take beyond the usual. Of a GPU, which is the run's alone, they are those on the
clock when all that was asked of it is done. It imports nothing of ours, and torch neither.
"""

import math
import statistics
import time
from collections.abc import Callable
from typing import Protocol

# Equal parts of a budget, for each of which a training tells its mean loss. So the curves of two runs compare part by
# part, whatever the speed of the machine; at 65,536 tokens a part of tinylm is two steps.
CURVE_PARTS = 32
WARMUP_STEPS = 10  # the first steps, in which what is compiled is compiled: as many as karpathy/autoresearch leaves out
USUAL_STEPS = 20  # after those, from which it is worked out what a step usually takes
# Between two looks at a GPU's clock, once it is known what a step takes. For a look the GPU has to do all that it was
# asked to, and then it waits until it is asked again: a millisecond or so.
LOOK_SECONDS = 0.1


class Budget(Protocol):
    """tokens: those of the steps that were taken."""

    tokens: int

    @property
    def warmup(self) -> float:
        """Seconds of warming up so far, which do not count; 0 where they count or nobody measures them."""

    @property
    def spent(self) -> float:
        """The share that the steps so far have spent, from 0; at least 1 when nothing is left."""

    def begin(self) -> None:
        """The first batch is about to be made."""

    def count(self, tokens: int) -> None:
        """A step of so many tokens was taken."""

    def state(self) -> dict[str, float]:
        """What was spent, for a run that is interrupted to go on with."""

    def go_on(self, state: dict[str, float]) -> None:
        """Take off what was spent before the run was interrupted. Before the first batch."""


class TokenBudget:
    """So many tokens, whatever they take."""

    def __init__(self, tokens: int) -> None:
        self._most = tokens
        self.tokens = 0

    warmup = 0.0

    @property
    def spent(self) -> float:
        return self.tokens / self._most

    def begin(self) -> None:
        return

    def count(self, tokens: int) -> None:
        self.tokens += tokens

    def state(self) -> dict[str, float]:
        return {"tokens": self.tokens}

    def go_on(self, state: dict[str, float]) -> None:
        self.tokens = int(state["tokens"])


class TimeBudget:
    """So many seconds, whatever is done in them; and before and beside them up to `warmup_seconds` of warming up.

    Warming up is what comes before the first batch, and the first WARMUP_STEPS steps, less what as many tokens usually
    take: the median, by token, of the USUAL_STEPS steps after them. While these are not over nothing of them is
    counted. Ten steps that take 40 s, followed by steps that take 0.1 s for as many tokens, count as 1 s.
    """

    def __init__(self, seconds: float, warmup_seconds: float, clock: Callable[[], float]) -> None:
        """clock: seconds in which the device was used, ascending."""
        self._seconds, self._most_warmup, self._clock = seconds, warmup_seconds, clock
        self._begun = self._last = clock()
        self._first: float | None = None  # when the first batch was made
        self._warm: float | None = None  # when the last step of warming up was over
        self._warmup_tokens = 0
        self._usual: list[float] = []  # seconds by token
        self._steps = 0
        self._before = 0.0  # what was spent until the run was interrupted, as a share
        self._tokens_before = 0
        self.tokens = 0

    @property
    def spent(self) -> float:
        return self._before + (self._last - self._begun - self.warmup) / self._seconds

    @property
    def warmup(self) -> float:
        return min(self._most_warmup, self._warmup())

    def _warmup(self) -> float:
        if self._first is None or self._warm is None or not self._usual:
            return self._last - self._begun
        usual = statistics.median(self._usual) * self._warmup_tokens
        return self._first - self._begun + max(0.0, self._warm - self._first - usual)

    def begin(self) -> None:
        self._last = self._clock()
        self._first = self._first or self._last

    def count(self, tokens: int) -> None:
        now = self._clock()
        self._steps += 1
        self.tokens += tokens
        if self._steps <= WARMUP_STEPS:
            self._warmup_tokens, self._warm = self.tokens - self._tokens_before, now
        elif len(self._usual) < USUAL_STEPS:
            self._usual.append((now - self._last) / tokens)
        self._last = now

    def state(self) -> dict[str, float]:
        return {"tokens": self.tokens, "spent": self.spent}

    def go_on(self, state: dict[str, float]) -> None:
        # This process has to compile and warm up anew, so that is forgiven anew.
        self._before = state["spent"]
        self.tokens = self._tokens_before = int(state["tokens"])


class GpuTimeBudget(TimeBudget):
    """So many seconds of a GPU. Once it is known what a step takes, its clock is looked at now and then only."""

    def __init__(self, seconds: float, warmup_seconds: float, clock: Callable[[], float]) -> None:
        """clock: seconds, when all that was asked of the GPU is done."""
        super().__init__(seconds, warmup_seconds, clock)
        self._looked = -math.inf  # when, by time.monotonic

    def count(self, tokens: int) -> None:
        if len(self._usual) < USUAL_STEPS or time.monotonic() - self._looked >= LOOK_SECONDS:
            super().count(tokens)
            self._looked = time.monotonic()
        else:
            self.tokens += tokens


class GpuTokenBudget(TokenBudget):
    """So many tokens on a GPU. What it took to warm up is measured, since seconds of a GPU are what a run costs."""

    def __init__(self, tokens: int, warmup_seconds: float, clock: Callable[[], float]) -> None:
        super().__init__(tokens)
        self._timing = TimeBudget(math.inf, warmup_seconds, clock)
        self._measured = 0

    @property
    def warmup(self) -> float:  # type: ignore[override]
        return self._timing.warmup

    def begin(self) -> None:
        self._timing.begin()

    def count(self, tokens: int) -> None:
        super().count(tokens)
        if self._measured < WARMUP_STEPS + USUAL_STEPS:
            self._measured += 1
            self._timing.count(tokens)
