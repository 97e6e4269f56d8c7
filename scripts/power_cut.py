"""Cut the power of a home again and again, and check that nothing that was told as durable is gone and no feed forks.

    .venv/bin/python scripts/power_cut.py [--rounds 200] [--seed 1] [--without-sync]

The home lies on a file system of its own, in a file that a loop device shows as a disk. A process signs records of
sources, as a node does, commits these to the workspace, writes settings and pauses, and prints each once it may be
told. At a random moment it is stopped and the disk copied as it is: what the process has written and not synced is in
memory, and so not on the copy. The next round goes on with the copy. Every record that was ever told must be there at
its number with its source, the key's mark must let the node sign, the latest settings be there, and the workspace have
a commit for every record once the node has started.

With --without-sync no sync reaches the disk: the checks must then fail. Needs root, to mount.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.ledger.settings import Description
from node.ledger.signing import Signing
from node.ledger.store import Ledger
from node.platform.home import Home
from node.research.workspace import Entry, Workspace
from protocol.records import Decision, Effect, Experiment, Pair, Run

OBJECTIVE = bytes(range(32))
BASELINE = "the baseline\n"
REPOSITORY = Path(__file__).resolve().parent.parent
DISK_MEBIBYTES = 96  # small, so that the copy is made in an instant
LONGEST_SECONDS = 0.8  # from the first record of a round to the cut

WRITER = """
import os, sqlite3, sys, time
from pathlib import Path
from node.ledger.store import Ledger
from node.platform.home import Home
from node.research.workspace import Entry
from scripts.power_cut import BASELINE, OBJECTIVE, opened_workspace, tried

if sys.argv[2] == "without-sync":
    os.fsync = lambda handle: None
    class Unsynced(sqlite3.Connection):
        def execute(self, text, *values):
            return super().execute("PRAGMA synchronous = OFF" if "synchronous" in text else text, *values)
    connect = sqlite3.connect
    sqlite3.connect = lambda *given, **named: connect(*given, **named, factory=Unsynced)

home = Home(Path(sys.argv[1]))
identity = home.identity()
ledger = Ledger.open(home.ledger, OBJECTIVE, mark=home.key_mark(identity))
ledger.settings.author = identity.author
workspace = opened_workspace(home, ledger)
parent = BASELINE
while True:
    number = len(ledger.feed(identity.author))
    source = f"{sys.argv[3]}, {number}\\n"
    blob = ledger.put_blob(source.encode())
    record = ledger.append_own(identity, tried(f"{sys.argv[3]}: {number}", blob), 1)
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
"""


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


def start_again(root: str) -> None:
    """What a node's start does of this. In a process of its own, for git's processes last as long as it does."""
    home = Home(Path(root))
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


def cut(disk: Disk, after: Path, seconds: float, mode: str, name: str) -> list[list[str]]:
    """Write until the power is cut; `after` is then the disk as it is. Returns what was told before."""
    with disk as home:
        home.root.mkdir(exist_ok=True)
        arguments = [sys.executable, "-c", WRITER, str(home.root), mode, name]
        writer = subprocess.Popen(arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(seconds)
        writer.send_signal(signal.SIGSTOP)
        shutil.copyfile(disk.image, after)
        os.killpg(writer.pid, signal.SIGKILL)  # with the processes of git that it has
        told = [first, *(line for line in writer.stdout if line.endswith("\n"))]
        writer.wait()
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
                start = "import sys; from scripts.power_cut import start_again; start_again(sys.argv[1])"
                subprocess.run([sys.executable, "-c", start, str(home.root)], cwd=REPOSITORY, check=True)
                commits = git(home.workspace(OBJECTIVE), "for-each-ref", "--format=%(objectname)", "refs/tried").split()
                shown = {git(home.workspace(OBJECTIVE), "show", f"{commit}:train.py") for commit in commits}
                sources = {(ledger.get_blob(one.body.child) or b"").decode() for one in held.values()}
                wrong += [f"the workspace has no commit of {source!r}" for source in sources - shown]
        finally:
            ledger.close()
    return wrong


def git(repository: Path, *command: str) -> str:
    return subprocess.run(["git", "-C", repository, *command], check=True, capture_output=True, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without-sync", action="store_true", help="to see that the checks would notice")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    records: dict[int, str] = {}
    latest: dict[str, float] = {}
    failed = set_aside = 0
    with tempfile.TemporaryDirectory(prefix="power-cut-") as folder_name:
        folder = Path(folder_name)
        (folder / "mnt").mkdir()
        now, after = folder / "now", folder / "after"
        now.write_bytes(b"")
        with now.open("r+b") as file:
            file.truncate(DISK_MEBIBYTES << 20)
        subprocess.run(["mkfs.ext4", "-q", str(now)], check=True)
        for number in range(1, options.rounds + 1):
            mode = "without-sync" if options.without_sync else "as-it-is"
            told = cut(Disk(now, folder / "mnt"), after, rng.uniform(0, LONGEST_SECONDS), mode, f"round {number}")
            records |= {int(seq): one for what, seq, one in told if what == "record"}
            latest |= {what: float(value) for what, value, _ in told if what != "record"}
            after.replace(now)
            subprocess.run(["e2fsck", "-p", str(now)], stdout=subprocess.DEVNULL)  # as at a machine's start
            try:
                wrong = checked(Disk(now, folder / "mnt"), records, latest)
            except Exception as error:  # a home that does not open is what this looks for
                wrong = [f"{type(error).__name__}: {error}"]
            failed += bool(wrong)
            for line in wrong[:3]:
                print(f"round {number}: {line}", flush=True)
            if wrong:
                break
        with Disk(now, folder / "mnt") as home:
            set_aside = len([*home.root.glob("workspace.*"), *home.root.glob("workspaces/*.*")])
    print(
        f"{number} power cuts, {len(records)} records told, {failed} with something gone; {set_aside} times a "
        "new workspace was begun beside a damaged one"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
