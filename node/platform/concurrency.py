"""Patterns of concurrency on trio: jobs side by side that fail as one, a blocking call off the event loop, and tasks in
an event loop of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import trio

T = TypeVar("T")


async def gather(jobs: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """The jobs' results, in the order of the jobs. The first error ends the other jobs and is raised as it is.

    Trio alone would raise it wrapped in an ExceptionGroup, which callers that expect one error would not catch.
    """
    results: dict[int, T] = {}
    errors: list[Exception] = []

    async def do(number: int, job: Callable[[], Awaitable[T]]) -> None:
        try:
            results[number] = await job()
        except Exception as error:
            errors.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for number, job in enumerate(jobs):
            nursery.start_soon(do, number, job)
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(jobs))]


async def in_thread(call: Callable[[], T]) -> T:
    """The result of a blocking call; when this task is cancelled, the call goes on and its result is dropped."""
    result: T = await trio.to_thread.run_sync(call, abandon_on_cancel=True)  # type: ignore[call-arg]  # old stubs
    return result


async def in_own_loop(work: Callable[[], Awaitable[None]]) -> None:
    """Do this work in a thread with an event loop of its own, in which nothing can delay the tasks of this one.

    It is cancelled when this task is. What it raises is raised here.
    """
    stop: list[Callable[[], None]] = []
    stopped = threading.Event()

    async def inside() -> None:
        with trio.CancelScope() as scope:
            stop.append(partial(trio.lowlevel.current_trio_token().run_sync_soon, scope.cancel))
            if not stopped.is_set():  # else this task was cancelled before that loop began
                await work()

    try:
        await in_thread(lambda: trio.run(inside))
    except trio.Cancelled:
        stopped.set()
        with suppress(trio.RunFinishedError):
            for cancel in stop:
                cancel()
        raise
