"""The commands `live ...`: approve variants, serve them, read what came of it. Thin, like all commands.

What a command needs is imported when it runs: every start of the program imports this file.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from node.cli.inspect import port
from node.cli.terminal import print_value
from node.platform.config import Config
from node.platform.environment import child_environment
from node.platform.file_trouble import HomeError
from node.platform.home import Home

if TYPE_CHECKING:
    from node.live.folder import Folder
    from node.live.store import Store
    from node.platform.log import Json

Command = Callable[..., argparse.ArgumentParser]


def add_commands(command: Command) -> None:
    """Make the commands known; `command` adds one below `live`."""

    def add(name: str, function: Callable[..., int], text: str, reads: bool = True) -> argparse.ArgumentParser:
        sub = command(name, _saying_what_is_wrong(function), text, reads=reads)
        sub.add_argument("folder", type=Path, metavar="FOLDER", help="as `objective new live FOLDER` made it")
        return sub

    add("status", _status, "variants, what was approved, answered, stopped and dropped")
    for name, function, text in (
        ("show", _show, "one variant, as a person sees it who is to approve it"),
        ("approve", _approve, "let people see a variant: exactly these bytes"),
        ("withdraw", _withdraw, "let nobody see a variant any more"),
    ):
        sub = add(name, function, text)
        sub.add_argument("variant", metavar="VARIANT", help="the name of its file, without the ending")
        if name == "approve":
            sub.add_argument(
                "--sha256", metavar="HEX", help="of what you saw, as `show` prints it; without it you are asked"
            )
    serve = add("serve", _serve, "serve variants to visitors, in a process of its own", reads=False)
    serve.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", type=port, default=0, metavar="N", help="default: any free one")
    page = add("dashboard", _dashboard, "a page on this machine to look at variants, approve and withdraw", reads=False)
    page.add_argument("--port", type=port, default=0, metavar="N", help="default: any free one")
    for name, function, text in (
        ("assign", _assign, "CSV of a list of recipients: which variant each is sent, and its first line"),
        ("import", _import, "CSV of a mail program: what became of a mailing"),
    ):
        sub = add(name, function, text)
        sub.add_argument("file", type=Path, metavar="FILE.csv")
        sub.add_argument("--recipient", default="recipient", metavar="COLUMN", help="default: recipient")
        if name == "import":
            sub.add_argument(
                "--variant", default="variant", metavar="COLUMN", help="name or subject (default: variant)"
            )
            sub.add_argument("--sent", metavar="COLUMN", help="leave out rows where this says no")
    export = add("export", _export, "the map: what this audience answered to, by theme, and what was never tried")
    export.add_argument(
        "--for-peers", action="store_true", help="themes and effects alone, if live.toml says that peers may have them"
    )


def _saying_what_is_wrong(function: Callable[..., int]) -> Callable[..., int]:
    def command(options: argparse.Namespace, config: Config) -> int:
        from node.live.folder import LiveError

        try:
            return function(options, config)
        except LiveError as error:
            raise HomeError(str(error)) from None

    return command


def _folder(options: argparse.Namespace) -> Folder:
    from node.live.folder import read_folder

    return read_folder(options.folder.expanduser().resolve())


def _status(options: argparse.Namespace, config: Config) -> int:
    from node.live.store import opened
    from node.view.model import live as model
    from node.view.terminal import live_table

    folder = _folder(options)
    with opened(folder.root) as store:
        value = model.live_status(folder, store)
    print_value(options, value, lambda: live_table.status(value))
    return 0


def _show(options: argparse.Namespace, config: Config) -> int:
    from node.live.store import opened
    from node.view.model import live as model
    from node.view.terminal import live_table

    folder = _folder(options)
    with opened(folder.root) as store:
        value = model.live_variant(folder, store, options.variant)
    print_value(options, value, lambda: live_table.shown(value))
    return 0


def _approve(options: argparse.Namespace, config: Config) -> int:
    from node.live.approval import approve
    from node.live.store import opened

    folder = _folder(options)
    with opened(folder.root) as store:
        seen = options.sha256 or _asked(options, folder, store)
        if seen is None:
            print("not approved", file=sys.stderr)
            return 1
        arm = approve(folder, store, options.variant, seen)
    _print_done(options, {"approved": options.variant, "sha256": folder.variants[options.variant].sha256, "arm": arm})
    return 0


def _asked(options: argparse.Namespace, folder: Folder, store: Store) -> str | None:
    """Show the variant and ask the person; None where they say no."""
    from rich.console import Console

    from node.live.folder import LiveError
    from node.view.model import live as model
    from node.view.terminal import live_table

    value = model.live_variant(folder, store, options.variant)
    if not sys.stdin.isatty():
        raise LiveError("a person approves what they saw: give --sha256, which `autoresearch-node live show` prints")
    Console().print(live_table.shown(value))
    return value["sha256"] if input("May people see this? [y/N] ").strip().lower() in ("y", "yes") else None


def _withdraw(options: argparse.Namespace, config: Config) -> int:
    from node.live.approval import withdraw
    from node.live.store import opened

    folder = _folder(options)
    with opened(folder.root) as store:
        withdraw(folder, store, options.variant)
    _print_done(options, {"withdrawn": options.variant})
    return 0


def _print_done(options: argparse.Namespace, value: Json) -> None:
    print(
        json.dumps(value, indent=2, sort_keys=True) if options.json else " ".join(map(str, next(iter(value.items()))))
    )


def _serve(options: argparse.Namespace, config: Config) -> int:
    folder = _folder(options)
    Home(config.home).add_live_folder(folder.root)
    command = [sys.executable, "-I", "-m", "node.live.service", str(folder.root), "--host", options.host]
    sys.stdout.flush()
    # this process becomes the service: what imported the node, and its environment, is gone
    os.execve(sys.executable, [*command, "--port", str(options.port)], child_environment())


def _dashboard(options: argparse.Namespace, config: Config) -> int:
    import trio

    from node.view.web.dashboard import print_url
    from node.view.web.live import show_live

    folder = _folder(options)

    def log(event: str, why: str = "", **_: object) -> None:
        print(f"{event}: {why}", file=sys.stderr)

    Home(config.home).add_live_folder(folder.root)
    with suppress(KeyboardInterrupt):
        trio.run(show_live, folder.root, options.port, print_url, log)
    return 0


def _assign(options: argparse.Namespace, config: Config) -> int:
    from node.live.mailing import Columns, assign
    from node.live.store import opened

    folder = _folder(options)
    with opened(folder.root) as store:
        texts = {arm.id: store.content(arm.id).decode("utf-8").strip().partition("\n")[0] for arm in store.arms()}
        rows = [
            {"recipient": recipient, "variant": arm.variant, "first_line": texts[arm.id]}
            for recipient, arm in assign(options.file, Columns(options.recipient), store)
        ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    writer = csv.DictWriter(sys.stdout, ("recipient", "variant", "first_line"))
    writer.writeheader()
    writer.writerows(rows)
    return 0


def _import(options: argparse.Namespace, config: Config) -> int:
    from node.live.mailing import Columns, read_results
    from node.live.store import opened
    from node.live.watch import live_log, settle
    from node.view.model import live as model
    from node.view.terminal import live_table

    folder = _folder(options)
    columns = Columns(options.recipient, options.variant, options.sent)
    with opened(folder.root) as store:
        imported = read_results(options.file, columns, folder.settings, store)
        settle(folder, store, live_log(folder.state, console=False))
        value = {"rows": imported.rows, "recipients": imported.recipients, "dropped": imported.dropped}
        if options.json:
            print(json.dumps(value, indent=2, sort_keys=True))
            return 0
        print(f"{imported.rows} rows, {imported.recipients} new recipients")
        for reason, count in imported.dropped.items():
            print(f"  dropped: {reason} {count}")
        status = model.live_status(folder, store)
        print_value(options, status, lambda: live_table.status(status))
    return 0


def _export(options: argparse.Namespace, config: Config) -> int:
    from node.live.store import opened
    from node.view.model import live as model
    from node.view.terminal import live_table

    folder = _folder(options)
    with opened(folder.root) as store:
        if options.for_peers:
            print(json.dumps(model.live_map_for_peers(folder, store), indent=2, sort_keys=True))
            return 0
        value = model.live_map(folder, store)
    print_value(options, value, lambda: live_table.answers(value))
    return 0
