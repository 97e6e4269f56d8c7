"""Several things done side by side, waited for like one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

T = TypeVar("T")


async def together(jobs: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """The jobs' results, in their order. The first error of a job ends the others and is raised as it is."""
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
