"""Blocking calls aside: in a thread, so that the event loop goes on, and forgotten when nobody waits any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def aside(call: Callable[[], T]) -> T:
    """The result of a blocking call; when this task is cancelled, the call goes on and its result is dropped."""
    result: T = await trio.to_thread.run_sync(call, abandon_on_cancel=True)  # type: ignore[call-arg]  # old stubs
    return result
