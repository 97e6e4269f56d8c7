"""The commands that show everything live or write it to a file: watch, dashboard, report, export, publish, plot.

Thin like the rest of the command line: they read arguments, call the part that does the work, and print.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from node.ledger.error import LedgerError
from node.platform.config import Config
from node.platform.home import Home
from node.platform.program import installing

if TYPE_CHECKING:
    from node.ledger.store import Ledger

Command = Callable[..., argparse.ArgumentParser]
MAX_PORT = 65535
PACKAGES = {"tensorboard": "TensorBoard", "mlflow": "MLflow"}  # formats that a package writes, which is an extra
SITE_URL = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~%\-/]*)?")


class TakingHomeError(LedgerError):
    """The file asked for cannot be written; the text says what to do."""


def add_commands(command: Command) -> None:
    """Make the commands known; `command` is the command line's own way to add one."""
    command("watch", _watch, "live view in this terminal: what this node does and what the swarm finds")
    page = command("dashboard", _dashboard, "serve a page that shows everything live in your browser", reads=False)
    page.add_argument("--port", type=port, default=0, metavar="N", help="on 127.0.0.1 (default: any free one)")
    written = command("report", _report, "write a report: what was tried, found, confirmed and refuted", reads=False)
    written.add_argument("file", type=Path, metavar="FILE", help="ends in .html (one file) or .md (pictures beside it)")
    exported = command(
        "export", _export, "records or runs for other programs: JSON lines, CSV, TensorBoard, MLflow ...", reads=False
    )
    forms = ("jsonl", "csv", *PACKAGES, "openmetrics")
    exported.add_argument("--format", choices=forms, default="jsonl", help="default: jsonl")
    exported.add_argument(
        "--output", type=Path, metavar="PATH", help="write there instead of printing; a folder for TensorBoard"
    )
    published = command("publish", _publish, "make a web site of what the swarm found, tried and refuted, as files")
    published.add_argument("folder", type=Path, metavar="DIR", help="a new or empty folder, or one it made before")
    published.add_argument("--url", type=site_url, help="where it will be, for the links in its feed")
    plotted = command("plot", _plot, "draw the progress of this node, or of all nodes, as SVG", reads=False)
    plotted.add_argument("file", type=Path, metavar="FILE.svg", help="where to write the picture")
    plotted.add_argument("--everybody", action="store_true", help="all nodes' experiments, in the order they arrived")


def port(text: str) -> int:
    if not text.isdigit() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 0 to {MAX_PORT}")
    return int(text)


def _watch(options: argparse.Namespace, config: Config) -> int:
    from node.view.terminal.watch import Watcher, watch

    if options.json:
        print(json.dumps(Watcher(Home(config.home)).read(), indent=2, sort_keys=True))
    else:
        watch(config.home)
    return 0


def _dashboard(options: argparse.Namespace, config: Config) -> int:
    import trio

    from node.view.web import dashboard
    from node.view.web.dashboard import print_url

    def log(event: str, why: str = "", **_: object) -> None:
        print(f"{event}: {why}", file=sys.stderr)

    try:
        trio.run(dashboard.show, config, options.port, print_url, log)
    except KeyboardInterrupt:
        return 0
    return 0


def _report(options: argparse.Namespace, config: Config) -> int:
    import trio

    from node.ledger.store import Ledger
    from node.view.files import report

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
    from node.ledger.store import Ledger
    from node.view.files import export
    from node.view.files.openmetrics import Machine, OpenMetrics

    home = Home(config.home)
    ledger = Ledger.read(home.ledger)
    if options.format in PACKAGES:
        return _export_to_tool(ledger, options.format, options.output)
    if options.format == "openmetrics":
        metrics = OpenMetrics(ledger)
        text = metrics.text(home.read_status(), home.paused_until() is not None, Machine())
    else:
        out = io.StringIO(newline="")
        {"jsonl": export.jsonl, "csv": export.table}[options.format](ledger, out)
        text = out.getvalue()
    if options.output is not None:
        return _written(options.output, text)
    sys.stdout.write(text)
    return 0


def _export_to_tool(ledger: Ledger, form: str, output: Path | None) -> int:
    """Write runs as a tool for tracking experiments keeps them."""
    from node.view.files.mlflow_store import write_store
    from node.view.files.tensorboard_events import write_events
    from node.view.files.tracked_runs import tracked_runs

    if output is None:
        what = "--output FOLDER" if form == "tensorboard" else "--output FILE.db"
        raise TakingHomeError(f"{PACKAGES[form]} reads files, so say where to write them: {what}")
    runs = tracked_runs(ledger)
    try:
        if form == "tensorboard":
            count, look = write_events(runs, output), f"tensorboard --logdir {output}"
        else:
            count = write_store(runs, output, ledger.settings.objective_name or ledger.objective.hex())
            look = f"mlflow ui --backend-store-uri sqlite:///{output.absolute()}"
    except ModuleNotFoundError:
        install = installing(form)
        raise TakingHomeError(f"{PACKAGES[form]}'s package is not installed here: {install}") from None
    except OSError as error:
        raise TakingHomeError(f"cannot write {error.filename or output} ({error.strerror}); give another") from None
    print(f"written: {count} runs; to look at them: {look}", file=sys.stderr)
    return 0


def site_url(text: str) -> str:
    """The address of a web site, with a slash at its end."""
    if not SITE_URL.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the address of a web site; give one like https://me.example/"
        )
    return text.rstrip("/") + "/"


def _publish(options: argparse.Namespace, config: Config) -> int:
    import trio

    from node.ledger.store import Ledger
    from node.view.files.site.folder import publish
    from node.view.files.site.site import site

    ledger = Ledger.read(Home(config.home).ledger)
    files = trio.run(site, ledger, options.url or "")
    done = publish(options.folder, files, ledger.objective.hex())
    if options.json:
        print(json.dumps({"folder": str(options.folder), **asdict(done)}, indent=2, sort_keys=True))
        return 0
    said = f"{len(done.written)} files written, {done.unchanged} unchanged, {len(done.removed)} removed"
    print(f"{said}: open {options.folder / 'index.html'}", file=sys.stderr)
    for path in done.left:
        print(f"left as it is, since `publish` did not make what is there: {options.folder / path}", file=sys.stderr)
    return 0


def _plot(options: argparse.Namespace, config: Config) -> int:
    from node.ledger.store import Ledger
    from node.view.files import plot as figures
    from node.view.model.baseline import baseline
    from node.view.model.rows import rows_of

    if options.file.suffix != ".svg":
        raise TakingHomeError(f"a plot is written as FILE.svg, not {options.file.name}")
    ledger = Ledger.read(Home(config.home).ledger)
    author = ledger.settings.author
    chosen = ledger.all_records() if options.everybody or not author else ledger.feed(author)
    about = ledger.settings.description
    title = f"{about.name}, {'everybody' if options.everybody else 'this node'}"
    return _written(options.file, figures.progress(rows_of(chosen, baseline(ledger)), about, title))


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
