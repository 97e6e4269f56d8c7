"""The progress bar of the run under way, below the log lines of a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from node.execution.run_progress import Progress
from node.platform.log import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar

REFRESH_SECONDS = 0.1


class RunBar:
    """A bar for the run that is going on, below the log lines; nothing where standard output is no terminal.

    The loss it shows is the candidate's own word; the score comes from the judge when the run is over.
    """

    def __init__(self) -> None:
        self._console = _terminal()
        self._bar: Bar | None = None
        self._drawn = 0.0

    def __enter__(self) -> RunBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def show(self, title: str, progress: Progress) -> None:
        """Draw the bar, or redraw it if it is not fresh."""
        now = time.monotonic()
        if self._console is None or (self._bar is not None and now - self._drawn < REFRESH_SECONDS):
            return
        self._drawn = now
        if self._bar is None:
            self._bar = _new_bar(self._console)
            self._bar.add_task("", total=1.0, title="", state="")
            self._bar.start()
        task = self._bar.task_ids[0]
        title = _cut(title, self._console.width - 62)
        self._bar.update(task, completed=progress.share, title=title, state=_state(progress))
        self._bar.refresh()

    def clear(self) -> None:
        """Take the bar away; the next `show` brings it back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _terminal() -> Console | None:
    if not sys.stdout.isatty():
        return None
    from rich.console import Console  # here, since a node that runs as a service draws nothing

    console = Console()
    return console if console.is_interactive else None


def _new_bar(console: Console) -> Bar:
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    # Redrawn only by show(): no thread. While it stands, standard output goes above it.
    return Bar(
        TextColumn("  {task.fields[title]}", markup=False),
        BarColumn(bar_width=12),
        TaskProgressColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        console=console,
        auto_refresh=False,
        transient=True,
    )


def _cut(title: str, room: int) -> str:
    text, width = one_line(title), max(12, min(40, room))
    return text if len(text) <= width else text[: width - 1] + "…"


def _state(progress: Progress) -> str:
    words = [{"train": "training", "judge": "judging"}[progress.phase]]
    if progress.share > 0.02:
        left = progress.seconds * (1 - progress.share) / progress.share
        words.append(f"{left:.0f} s left")
    if progress.loss is not None:
        words.append(f"loss {progress.loss:.2f}, unjudged")
    return "  ".join(words)
