"""The CPU seconds of this process and of everything it started, directly or not, to the present moment.

Linux counts for every process its own CPU time and, once it has waited for a child, the child's and what that had been
counted for in turn. So the sum of both over the processes that are alive is what all of them have used, and only what a
process used whose end nobody waited for is missing. A node waits for its processes, and a fork server for its forks;
while a search goes on its servers are alive. When a sandbox is ended as a whole its processes' time is lost, so the sum
is to be taken before that.

What the kernel shows is rounded down to a hundredth of a second per process.
"""

from __future__ import annotations

import psutil


def of_all_processes() -> float:
    """CPU seconds of this process, of its descendants that are alive, and of all that any of them has waited for."""
    total = 0.0
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        try:
            total += sum(process.cpu_times()[:4])  # user and system, its own and those of children it waited for
        except psutil.NoSuchProcess:
            continue  # it ended just now, and its parent has it
    return total
