"""`watch`: a live view of the swarm in a terminal, until q or Ctrl-C.

It reads a home once a second: the status file, and the ledger through a connection of its own, whose projections it
works out anew only when records have arrived. So it works beside a running node and without one, outlives the node's
restart, and changes nothing but the terminal, which it leaves as it was. `watch_frame` draws a frame.
"""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import trio
from rich.console import Console
from rich.live import Live

from node.ledger.error import LedgerError
from node.ledger.store import Ledger
from node.platform.home import Home
from node.platform.log import Json
from node.view.model import leaderboard as data
from node.view.model.live_run import live
from node.view.model.watch import watch_model
from node.view.terminal.watch_frame import frame
from protocol.codec import MalformedError

READ_SECONDS = 1.0  # between two readings of the home
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PAUSE_PER_PROJECTION = 60.0  # projections that took 0.1 s are not repeated for 6 s: at most a sixtieth of the time
PAGE = (100, 40)  # columns and lines of the one frame that is printed where there is no terminal
NO_MODELS = {"tokens": 0, "money": 0.0, "tokens_last_hour": 0, "money_last_hour": 0.0}


class Watcher:
    """Reads a home again and again, keeping what need not be read anew."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._ledger: Ledger | None = None
        self._file = 0  # which file the ledger was read from
        self._projected: Json = {}
        self._version = (-1, 0)
        self._due = -math.inf
        self._since: int | None = None  # records from this number on arrived since watching began

    def read(self) -> Json:
        """What `watch --json` prints. `trouble` says in words why nothing of the ledger is in it."""
        trouble, models = "", NO_MODELS
        try:
            models = data.models(self._take_in())
        except (LedgerError, MalformedError, sqlite3.Error, OSError) as error:
            trouble = str(error)
            self.close()
        now = self._home.read_status()
        return {
            **self._projected,
            "now": now,
            "live": live(self._home, now),
            "paused": self._home.paused_until() is not None,
            "models": models,
            "since": self._since,
            "trouble": trouble,
        }

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
        self._ledger, self._projected, self._version, self._due = None, {}, (-1, 0), -math.inf

    def _take_in(self) -> Ledger:
        path = self._home.ledger
        file = path.stat().st_ino if path.exists() else 0
        known = self._ledger
        if known is not None and (file != self._file or known.settings.objective != known.objective):
            self.close()
            self._since = None
        if self._ledger is None:
            self._ledger, self._file = Ledger.read(path), file
        self._ledger.refresh()
        if self._since is None:
            self._since = self._ledger.count()
        begun = time.monotonic()
        if self._ledger.version() != self._version and begun >= self._due:
            self._version, self._projected = self._ledger.version(), watch_model(self._ledger)
            ended = time.monotonic()
            self._due = ended + PAUSE_PER_PROJECTION * (ended - begun)
        return self._ledger


def watch(root: Path) -> None:
    """Show the home at `root`: live on a terminal, as one frame anywhere else."""
    console = Console()
    watcher = Watcher(Home(root))
    try:
        if console.is_terminal and not console.is_dumb_terminal:
            with _keys_at_once() as keys:
                trio.run(_live, watcher, console, keys)
        else:
            Console(width=PAGE[0]).print(frame(watcher.read(), *PAGE, _clock()))
    finally:
        watcher.close()


async def _live(watcher: Watcher, console: Console, keys: int | None) -> None:
    with (
        trio.open_signal_receiver(signal.SIGWINCH, *ENDING) as signals,  # before anything is drawn that must be undone
        Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live,
    ):
        async with trio.open_nursery() as nursery:
            if keys is not None:
                nursery.start_soon(_quit_on_q, keys, nursery.cancel_scope)
            before: tuple[Json, object] | None = None
            received: int | None = None  # a signal
            while received not in ENDING:
                seen = (watcher.read(), console.size)
                if seen != before:
                    before = seen
                    live.update(frame(seen[0], *console.size, _clock()), refresh=True)
                received = None
                with trio.move_on_after(READ_SECONDS):
                    received = await anext(signals)
            nursery.cancel_scope.cancel()


async def _quit_on_q(keys: int, watching: trio.CancelScope) -> None:
    while True:
        await trio.lowlevel.wait_readable(keys)
        pressed = os.read(keys, 64)
        if not pressed or b"q" in pressed.lower():
            watching.cancel()
            return


@contextmanager
def _keys_at_once() -> Iterator[int | None]:
    """Standard input, key by key and without echo; None where it is no terminal.

    Ctrl-Z is ignored meanwhile: it would give the shell a terminal in this mode.
    """
    if not sys.stdin.isatty():
        yield None
        return
    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    suspend = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        tty.setcbreak(keys)
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTSTP, suspend)


def _clock() -> str:
    return datetime.now().strftime("%H:%M:%S")
