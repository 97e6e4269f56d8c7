"""The commands that show everything live or write it to a file: watch, dashboard, report, export, plot.

Thin like the rest of the command line: they read arguments, call the part that does the work, and print.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from urllib.parse import quote

import trio

from node.ledger.error import LedgerError
from node.ledger.store import Ledger
from node.platform.config import Config
from node.platform.home import Home
from node.view.files import export, report
from node.view.files import plot as figures
from node.view.model.rows import rows_of
from node.view.terminal.watch import Watcher, watch
from node.view.web import dashboard
from node.view.web.dashboard import print_url

Command = Callable[..., argparse.ArgumentParser]
MAX_PORT = 65535


class TakingHomeError(LedgerError):
    """The file asked for cannot be written; the text says what to do."""


def add_commands(command: Command) -> None:
    """Make the commands known; `command` is the command line's own way to add one."""
    command("watch", _watch, "live view in this terminal: what this node does and what the swarm finds")
    page = command("dashboard", _dashboard, "serve a page that shows everything live in your browser", reads=False)
    page.add_argument("--port", type=port, default=0, metavar="N", help="on 127.0.0.1 (default: any free one)")
    written = command("report", _report, "write a report: what was tried, found, confirmed and refuted", reads=False)
    written.add_argument("file", type=Path, metavar="FILE", help="ends in .html (one file) or .md (pictures beside it)")
    exported = command("export", _export, "print every record held, as JSON lines or CSV", reads=False)
    exported.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="default: jsonl")
    exported.add_argument("--output", type=Path, metavar="FILE", help="write there instead of printing")
    plotted = command("plot", _plot, "draw the progress of this node, or of all nodes, as SVG", reads=False)
    plotted.add_argument("file", type=Path, metavar="FILE.svg", help="where to write the picture")
    plotted.add_argument("--everybody", action="store_true", help="all nodes' experiments, in the order they arrived")


def port(text: str) -> int:
    if not text.isdigit() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 0 to {MAX_PORT}")
    return int(text)


def _watch(options: argparse.Namespace, config: Config) -> int:
    if options.json:
        print(json.dumps(Watcher(Home(config.home)).read(), indent=2, sort_keys=True))
    else:
        watch(config.home)
    return 0


def _dashboard(options: argparse.Namespace, config: Config) -> int:
    def log(event: str, why: str = "", **_: object) -> None:
        print(f"{event}: {why}", file=sys.stderr)

    try:
        trio.run(dashboard.show, config, options.port, print_url, log)
    except KeyboardInterrupt:
        return 0
    return 0


def _report(options: argparse.Namespace, config: Config) -> int:
    path, ledger = options.file, Ledger.read(Home(config.home).ledger)
    if path.suffix not in (".html", ".md"):
        raise TakingHomeError(f"a report is written as FILE.html or FILE.md, not {path.name}")
    blocks = trio.run(report.report, ledger)
    if path.suffix == ".html":
        return _written(path, report.as_html(blocks))
    names = (f"{path.stem}-{number}.svg" for number in count(1))

    def keep_picture(svg: str) -> str:
        name = next(names)
        _write(path.with_name(name), svg)
        return quote(name)

    return _written(path, report.as_markdown(blocks, keep_picture))


def _export(options: argparse.Namespace, config: Config) -> int:
    ledger = Ledger.read(Home(config.home).ledger)
    form = {"jsonl": export.jsonl, "csv": export.table}[options.format]
    if options.output is None:
        form(ledger, sys.stdout)
        return 0
    text = io.StringIO(newline="")
    form(ledger, text)
    return _written(options.output, text.getvalue())


def _plot(options: argparse.Namespace, config: Config) -> int:
    if options.file.suffix != ".svg":
        raise TakingHomeError(f"a plot is written as FILE.svg, not {options.file.name}")
    ledger = Ledger.read(Home(config.home).ledger)
    author = ledger.settings.author
    chosen = ledger.all_records() if options.everybody or not author else ledger.feed(author)
    about = ledger.settings.description
    title = f"{about.name}, {'everybody' if options.everybody else 'this node'}"
    return _written(options.file, figures.progress(rows_of(chosen), about, title))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise TakingHomeError(f"cannot write {path} ({error.strerror}); give another file") from None


def _written(path: Path, text: str) -> int:
    """Write the one file that was asked for and say so."""
    _write(path, text)
    print(f"written: {path}", file=sys.stderr)
    return 0
