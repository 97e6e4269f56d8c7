"""Things done side by side give their results in order, and fail as one of them would alone."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from node.platform.concurrency import gather


async def after(seconds: float, value: str) -> str:
    await trio.sleep(seconds)
    return value


async def fails() -> str:
    raise OSError("no space left")


async def test_results_come_in_the_order_of_the_jobs(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    assert await gather([partial(after, 3, "slow"), partial(after, 1, "fast")]) == ["slow", "fast"]
    assert trio.current_time() - began == pytest.approx(3)


async def test_an_error_ends_the_others_and_is_raised_as_it_is(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(OSError, match="no space left"):
        await gather([partial(after, 3600, "slow"), fails])
    assert trio.current_time() < 3600


async def test_cancelling_ends_the_jobs(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(1) as patience:
        await gather([partial(after, 3600, "slow"), partial(after, 3600, "slow too")])
    assert patience.cancelled_caught
