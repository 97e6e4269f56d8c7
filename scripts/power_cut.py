"""Cut the power of a home again and again, and check that nothing that was told as durable is gone and no feed forks.

    .venv/bin/python scripts/power_cut.py [--rounds 200] [--seed 1] [--without-sync]

The home lies on a file system of its own, in a file that a loop device shows as a disk. A process signs records of
sources, as a node does, commits these to the workspace, writes settings and pauses, and prints each once it may be
told. At a random moment the file system is cut off: what was written and not synced is in memory, and never gets to
the disk. The next round goes on with what is there. Every record that was ever told must be there at its number with
its source, the key's mark must let the node sign, the latest settings be there, and the workspace have a commit for
every record once the node has started. After every 20 cuts another home is begun, since a first start is a moment like
any other, and a long history makes each check slow.

With --without-sync no sync reaches the disk: the checks must then fail. Needs root, to mount.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from faults import cut_off, have_own_mounts

from node.ledger.settings import Description
from node.ledger.signing import Signing
from node.ledger.store import Ledger
from node.platform.home import Home
from node.research.workspace import Entry, Workspace
from protocol.records import Decision, Effect, Experiment, Pair, Run

OBJECTIVE = bytes(range(32))
BASELINE = "the baseline\n"
DISK_MEBIBYTES = 96
LONGEST_SECONDS = 0.8  # from the first record of a round to the cut
CUTS_OF_A_HOME = 20


def write(root: Path, name: str) -> None:
    """Do what a node does, and say on standard output what is durable by then, until the power is cut."""
    home = Home(root)
    identity = home.identity()
    ledger = Ledger.open(home.ledger, OBJECTIVE, mark=home.key_mark(identity))
    ledger.settings.author = identity.author
    workspace = opened_workspace(home, ledger)
    parent = BASELINE
    while True:
        number = len(ledger.feed(identity.author))
        source = f"{name}, {number}\n"
        blob = ledger.put_blob(source.encode())
        record = ledger.append_own(identity, tried(f"{name}: {number}", blob), 1)
        print("record", record.seq, record.id.hex(), flush=True)
        workspace.add(Entry(record, record.body, source), parent)
        parent = source
        until = time.time() + 1e6
        home.pause(until)
        print("pause", repr(until), 0, flush=True)
        home.remember_port(number + 1)
        print("port", number + 1, 0, flush=True)
        ledger.settings.spending = str(number).encode()
        print("spending", number, 0, flush=True)


def sync_nothing() -> None:
    """Have no sync of this process reach a disk."""

    class Unsynced(sqlite3.Connection):
        def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
            return super().execute("PRAGMA synchronous = OFF" if "synchronous" in text else text, *values)

    connect = sqlite3.connect
    os.fsync = lambda handle: None
    sqlite3.connect = lambda *given, **named: connect(*given, **named, factory=Unsynced)  # type: ignore[assignment]


def forked(work: Callable[[], None]) -> tuple[int, TextIO]:
    """Do some work in a process of its own, which ends with the processes of git that it has; its id and output."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.dup2(writing, 1)
            os.close(reading)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    return child, os.fdopen(reading)


def tried(title: str, source: bytes) -> Experiment:
    run = Run(3.0, 9.5, 1 << 19, ((20, 5.0),), None)
    return Experiment(
        title, "x", "", "catalogue", hashlib.sha256(BASELINE.encode()).digest(), source, source, "cpu", "bwrap", "",
        Decision.IMPROVED, Effect(-0.02, 0.002, 2), None, 1.0, None, (Pair(1, run, run),),
    )  # fmt: skip


def opened_workspace(home: Home, ledger: Ledger) -> Workspace:
    """The workspace as at a node's start: what the ledger has, and where it is damaged a new one beside it."""
    workspace = Workspace.open(home.workspace(OBJECTIVE), ["train.py"], BASELINE, lambda _: "", Description(), log)
    entries, parent = [], BASELINE
    for record in ledger.feed(ledger.settings.author or b""):
        source = (ledger.get_blob(record.body.child) or b"").decode() if isinstance(record.body, Experiment) else ""
        entries.append((Entry(record, record.body, source), parent))
        parent = source
    workspace.reconcile(entries, parent, entries[-1][0].record.id if entries else None)
    return workspace


def start_again(home: Home) -> None:
    """What a node's start does of this."""
    ledger = Ledger.open(home.ledger, OBJECTIVE, mark=home.key_mark(home.identity()))
    opened_workspace(home, ledger)
    ledger.close()


def log(event: str, level: str = "info", **details: object) -> None:
    if level != "info":
        print(event, details, file=sys.stderr, flush=True)


class Disk:
    """A file system in a file, mounted while the block lasts."""

    def __init__(self, image: Path, at: Path) -> None:
        self.image, self.at = image, at

    def __enter__(self) -> Home:
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.at)], check=True)
        return Home(self.at / "home")

    def __exit__(self, *_: object) -> None:
        for _ in range(50):  # git's processes end a moment after the one that they served
            if subprocess.run(["umount", str(self.at)], stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.at} cannot be unmounted")


def cut(disk: Disk, seconds: float, without_sync: bool, name: str) -> list[list[str]]:
    """Write until the power is cut. Returns what was told before."""

    def work() -> None:
        if without_sync:
            sync_nothing()
        write(home.root, name)

    with disk as home:
        home.make()
        writer, output = forked(work)
        with output:
            first = output.readline()
            time.sleep(seconds)
            os.killpg(writer, signal.SIGKILL)  # with the processes of git that it has
            cut_off(disk.at)
            told = [line for line in (first, *output) if line.endswith("\n")]
        os.waitpid(writer, 0)
    return [line.split() for line in told]


def checked(disk: Disk, records: dict[int, str], latest: dict[str, float]) -> list[str]:
    """What of that which was told is not on the disk. records: ids by number; latest: of settings, by name."""
    with disk as home:
        identity = home.identity()
        ledger = Ledger.open(home.ledger, OBJECTIVE, mark=home.key_mark(identity))
        try:
            held = {record.seq: record for record in ledger.feed(identity.author)}
            wrong = [f"record {number} is gone" for number in records if number not in held]
            wrong += [f"record {n} is another" for n, one in records.items() if n in held and held[n].id.hex() != one]
            wrong += [
                f"the source of record {n} is gone" for n, one in held.items() if not ledger.has_blob(one.body.child)
            ]
            if ledger.signing is not Signing.READY:
                wrong.append(f"the node may not sign: {ledger.signing.name}")
            found = {
                "pause": home.paused_until() or 0.0,
                "port": home.remembered_port() or 0,
                "spending": float(ledger.settings.spending or 0),
            }
            wrong += [
                f"{name} is {found[name]} and was {value}" for name, value in latest.items() if found[name] < value
            ]
            if not wrong:
                starter, output = forked(lambda: start_again(home))
                with output:
                    said = output.read()
                if os.waitpid(starter, 0)[1]:
                    wrong.append(f"the next start fails: {said}")
                shown = sources_in(home.workspace(OBJECTIVE))
                sources = {(ledger.get_blob(one.body.child) or b"").decode() for one in held.values()}
                wrong += [f"the workspace has no commit of {source!r}" for source in sources - shown]
        finally:
            ledger.close()
    return wrong


def sources_in(repository: Path) -> set[str]:
    """The sources of all commits of what was tried."""

    def git(*command: str, told: str = "") -> str:
        words = ["git", "-C", str(repository), *command]
        return subprocess.run(words, check=True, capture_output=True, text=True, input=told).stdout

    commits = git("for-each-ref", "--format=%(objectname):train.py", "refs/tried")
    return {f"{line}\n" for line in git("cat-file", "--batch", told=commits).splitlines()}  # each is of one line


def empty_disk(folder: Path) -> Disk:
    image = folder / "now"
    with image.open("wb") as file:
        file.truncate(DISK_MEBIBYTES << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    return Disk(image, folder / "mnt")


def cut_and_checked(
    disk: Disk, rng: random.Random, without_sync: bool, name: str, records: dict[int, str], latest: dict[str, float]
) -> list[str]:
    """One cut; what is gone after it. What was told is added to what was told before."""
    told = cut(disk, rng.uniform(0, LONGEST_SECONDS), without_sync, name)
    records |= {int(seq): one for what, seq, one in told if what == "record"}
    latest |= {what: float(value) for what, value, _ in told if what != "record"}
    subprocess.run(["e2fsck", "-p", str(disk.image)], stdout=subprocess.DEVNULL)  # as at a machine's start
    try:
        return checked(disk, records, latest)
    except Exception as error:  # a home that does not open is what this looks for
        return [f"{type(error).__name__}: {error}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without-sync", action="store_true", help="to see that the checks would notice")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    have_own_mounts()
    told = failed = set_aside = number = 0
    with tempfile.TemporaryDirectory(prefix="power-cut-") as folder_name:
        folder = Path(folder_name)
        (folder / "mnt").mkdir()
        while number < options.rounds and not failed:
            disk = empty_disk(folder)
            records: dict[int, str] = {}
            latest: dict[str, float] = {}
            for _ in range(min(CUTS_OF_A_HOME, options.rounds - number)):
                number += 1
                wrong = cut_and_checked(disk, rng, options.without_sync, f"round {number}", records, latest)
                for line in wrong[:3]:
                    print(f"round {number}: {line}", flush=True)
                if wrong:
                    failed += 1
                    break
            told += len(records)
            with disk as home:
                set_aside += len([*home.root.glob("workspace.*"), *home.root.glob("workspaces/*.*")])
            print(f"{number} cuts, {told} records told", flush=True)
    print(
        f"{number} power cuts, {told} records told, {failed} with something gone; {set_aside} times a "
        "new workspace was begun beside a damaged one"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
