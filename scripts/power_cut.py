"""Cut the power of a home again and again, and check that nothing that was told as durable is gone and no feed forks.

    .venv/bin/python scripts/power_cut.py [--rounds 200] [--seed 1] [--without-sync]

The home lies on a file system of its own, in a file that a loop device shows as a disk. A process signs records, as a
node does, and writes pauses, and prints each once it may be told. At a random moment it is stopped and the disk copied
as it is: what the process has written and not synced is in memory, and so not on the copy. The next round goes on with
the copy. Every record that was ever told must be there at its number, and the key's mark must let the node sign.

With --without-sync no sync reaches the disk: the checks must then fail. Needs root, to mount.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from node.ledger.signing import Signing
from node.ledger.store import Ledger
from node.platform.home import Home

OBJECTIVE = bytes(range(32))
DISK_MEBIBYTES = 48
LONGEST_SECONDS = 0.8  # from the first record of a round to the cut

WRITER = """
import os, sqlite3, sys, time
from pathlib import Path
from node.ledger.store import Ledger
from node.platform.home import Home
from protocol.records import Hypothesis

if sys.argv[2] == "without-sync":
    os.fsync = lambda handle: None
    class Unsynced(sqlite3.Connection):
        def execute(self, text, *values):
            return super().execute("PRAGMA synchronous = OFF" if "synchronous" in text else text, *values)
    connect = sqlite3.connect
    sqlite3.connect = lambda *given, **named: connect(*given, **named, factory=Unsynced)

home = Home(Path(sys.argv[1]))
identity = home.identity()
ledger = Ledger.open(home.ledger, bytes(range(32)), mark=home.key_mark(identity))
while True:
    number = len(ledger.feed(identity.author))
    body = Hypothesis(title=f"{sys.argv[3]}: {number}", category="x", reason="", edit=None, base=None)
    record = ledger.append_own(identity, body, 1)
    print("record", record.seq, record.id.hex(), flush=True)
    until = time.time() + 1e6
    home.pause(until)
    print("pause", repr(until), 0, flush=True)
"""


class Disk:
    """A file system in a file, mounted while the block lasts."""

    def __init__(self, image: Path, at: Path) -> None:
        self.image, self.at = image, at

    def __enter__(self) -> Home:
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.at)], check=True)
        return Home(self.at / "home")

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.at)], check=True)


def cut(disk: Disk, after: Path, seconds: float, mode: str, name: str) -> list[list[str]]:
    """Write until the power is cut; `after` is then the disk as it is. Returns what was told before."""
    with disk as home:
        home.root.mkdir(exist_ok=True)
        arguments = [sys.executable, "-c", WRITER, str(home.root), mode, name]
        writer = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(seconds)
        writer.send_signal(signal.SIGSTOP)
        shutil.copyfile(disk.image, after)
        writer.kill()
        told = [first, *(line for line in writer.stdout if line.endswith("\n"))]
        writer.wait()
    return [line.split() for line in told]


def checked(disk: Disk, records: dict[int, str], pause: float) -> list[str]:
    """What of that which was told is not on the disk. records: ids by number."""
    with disk as home:
        identity = home.identity()
        ledger = Ledger.open(home.ledger, OBJECTIVE, mark=home.key_mark(identity))
        try:
            held = {record.seq: record.id.hex() for record in ledger.feed(identity.author)}
            wrong = [f"record {number} is gone" for number in records if number not in held]
            wrong += [f"record {n} is another" for n, one in records.items() if held.get(n, one) != one]
            if ledger.signing is not Signing.READY:
                wrong.append(f"the node may not sign: {ledger.signing.name}")
        finally:
            ledger.close()
        if (home.paused_until() or 0.0) < pause:
            wrong.append("a pause is gone")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without-sync", action="store_true", help="to see that the checks would notice")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    records: dict[int, str] = {}
    pause, failed = 0.0, 0
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
            pause = max([pause, *(float(until) for what, until, _ in told if what == "pause")])
            after.replace(now)
            try:
                wrong = checked(Disk(now, folder / "mnt"), records, pause)
            except Exception as error:  # a home that does not open is what this looks for
                wrong = [f"{type(error).__name__}: {error}"]
            failed += bool(wrong)
            for line in wrong[:3]:
                print(f"round {number}: {line}", flush=True)
            if wrong:
                break
    print(f"{number} power cuts, {len(records)} records told, {failed} with something gone")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
