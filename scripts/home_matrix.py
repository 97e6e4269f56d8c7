"""Damage every file of a home in every way, and see what the program says and whether anything is lost.

    .venv/bin/python scripts/home_matrix.py [--only identity.key] [--ways "mode 000"] [--when start] [--side-by-side 2]

Makes a home that has signed a record, and holds a person's notes. For each of its files, each kind of damage (missing,
empty, garbage, mode 000, a folder, a link to nowhere, another user's, I/O errors, a quota that is used up, and, for the
home as a whole, a read-only file system, a full disk, a quota and a disk that gives up), it runs the real program: a
start, a node that is running when it happens, and a reading command. It prints for each: the exit status, the one line
that a person sees, and what is wrong: a traceback, something lost, or no word at all with a failure.

Needs root, whose right to pass over permissions it gives up for the program; for the disks that are full, out of quota
or give up, mkfs.btrfs and mkfs.ext4; and gcc, for errors of single files (scripts/faults.py).
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from faults import Faults, cut_off, fail, have_own_mounts

REPOSITORY = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, "-m", "node"]
UNPRIVILEGED = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner"]
JOIN = ["join", "--objective", "tinylm", "--listen", "/ip4/127.0.0.1/tcp/0"]
NOBODY = 65534
START_SECONDS, PATIENCE_SECONDS = 60.0, 180.0  # on a busy machine
NOTES = Path("workspace", "notes.txt")
WHOLE_HOME = "(the home)"
FILES = (
    "identity.key", "identity.signed", "ledger.sqlite", "lock", "swarm.toml", "port", "pause", "status.json",
    "node.log.jsonl", "dashboard.url", "live-folders", "suggestions", "promotions", "blobs", "weights", "downloads",
    "objectives", "data", "swarms", "workspace", "workspace/train.py", "workspace/results.tsv", "workspace/.git",
    *(f"workspace/.git/{name}" for name in (
        "HEAD", "index", "config", "refs", "refs/heads/best", "refs/tried", "objects", "packed-refs", "info", "logs",
        "hooks", "autoresearch-objective",
    )), WHOLE_HOME,
)  # fmt: skip
PRECIOUS = ("identity.key", "swarm.toml", str(NOTES))
WHEN = ("start", "running", "reading")


@dataclass(frozen=True)
class Cell:
    """What one try came to. line: what a person sees first of it."""

    file: str
    way: str
    when: str
    status: int | None
    line: str
    wrong: str


def missing(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def empty(path: Path) -> None:
    missing(path)
    path.touch()


def garbage(path: Path) -> None:
    missing(path)
    path.write_bytes(os.urandom(3000))


def mode_000(path: Path) -> None:
    if not path.exists():
        path.touch()
    path.chmod(0)


def folder(path: Path) -> None:
    missing(path)
    path.mkdir()


def link_to_nowhere(path: Path) -> None:
    missing(path)
    path.symlink_to("/nowhere/at/all")


def of_another_user(path: Path) -> None:
    if not path.exists():
        path.touch()
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o755 if path.is_dir() else 0o600)


def read_only(path: Path) -> None:
    subprocess.run(["mount", "--bind", str(path), str(path)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)


def gives_up(path: Path) -> None:
    """Every use of the disk on which the home lies is an I/O error from now on."""
    os.sync()  # what was copied there
    cut_off(path)


def io_errors(path: Path) -> None:
    fail(_place(path), path, errno.EIO)


def quota(path: Path) -> None:
    fail(_place(path), path, errno.EDQUOT)


def _place(path: Path) -> Path:
    return next(each for each in path.parents if each.name.startswith("cell-"))


def full(path: Path) -> None:
    """Nothing is left of the small disk on which the home lies, or of what its user may have of it."""
    with suppress(OSError), (path / "filling").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


WAYS: dict[str, Callable[[Path], None]] = {
    "missing": missing,
    "empty": empty,
    "garbage": garbage,
    "mode 000": mode_000,
    "a folder": folder,
    "a link to nowhere": link_to_nowhere,
    "another user's": of_another_user,
    "I/O errors": io_errors,
    "quota": quota,
    "read-only disk": read_only,
    "full disk": full,
    "disk quota": full,
    "a disk that gives up": gives_up,
}
OF_THE_HOME = ("mode 000", "another user's", "read-only disk", "full disk", "disk quota", "a disk that gives up")
OF_DISKS = OF_THE_HOME[2:]


def started(faults: Faults, home: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {"PYTHONPATH": str(REPOSITORY), "LANG": "C.UTF-8", **faults.environment(home.parent)}
    return subprocess.Popen(
        [*UNPRIVILEGED, *PROGRAM, *arguments, "--home", str(home)],
        env=environment, cwd=home.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], seconds: float) -> tuple[int | None, str]:
    """Its exit status and what it printed; None where it had to be killed."""
    try:
        text = process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return None, process.communicate()[0]
    return process.returncode, text


def good_home(at: Path, faults: Faults) -> Path:
    """A home in which a node has signed a record, and a person has notes and settings. It is paused: nothing runs."""
    home = at / "good"
    home.mkdir()
    (home / "swarm.toml").write_text("[research]\nworkers = 1\n")
    (home / "pause").write_text("inf\n")
    for arguments in ([*JOIN, "--for", "1s"], ["suggest", "Warm the rate up"], [*JOIN, "--for", "4s"]):
        status, text = ended(started(faults, home, *arguments), START_SECONDS)
        if status:
            raise SystemExit(f"no good home could be made: {text}")
    for name in ("suggestions", "promotions", "blobs", "weights", "downloads", "objectives", "data", "swarms"):
        (home / name).mkdir(exist_ok=True)
    (home / NOTES).write_text("what I thought of at night\n")
    (home / "live-folders").touch()
    (home / "port").unlink()  # or all cells would be after the same one
    return home


def tried(good: Path, at: Path, faults: Faults, file: str, way: str, when: str) -> Cell:
    place = Path(tempfile.mkdtemp(prefix="cell-", dir=at))
    home = place / "home"
    try:
        with _disk_for(home, way) as mounted_again:
            shutil.copytree(good, home, symlinks=True, dirs_exist_ok=True)
            target = home if file == WHOLE_HOME else home / file
            status, text = _run(faults, home, target, way, when)
            mounted_again()
            wrong = [] if "Traceback" not in text else ["TRACEBACK"]
            if status is None:
                wrong.append("HUNG")
            elif status not in (0, 1, 2, 130):
                wrong.append(f"STATUS {status}")
            if status and "autoresearch-node:" not in text and "!" not in text:
                wrong.append("NO WORD")
            with suppress(OSError):  # on a read-only disk, where it is not needed
                home.chmod(0o700)
            wrong += _lost(good, home, file)
    finally:
        while not subprocess.run(["umount", "-l", str(home)], capture_output=True).returncode:
            pass
        shutil.rmtree(place, ignore_errors=True)
    return Cell(file, way, when, status, _first_line(text, home), ", ".join(wrong))


@contextmanager
def _disk_for(home: Path, way: str) -> Iterator[Callable[[], None]]:
    """A disk for the home, where one kind of damage needs its own. Given is what makes it readable once more."""
    home.mkdir()
    image = home.with_name("disk")
    if way == "full disk":
        _mount("-t", "tmpfs", "-o", "size=12m", "tmpfs", str(home))
    elif way in ("disk quota", "a disk that gives up"):
        with image.open("wb") as file:
            file.truncate(200 << 20)
        subprocess.run(["mkfs.btrfs" if way == "disk quota" else "mkfs.ext4", "-q", str(image)], check=True)
        _mount("-o", "loop", str(image), str(home))
    if way == "disk quota":
        for words in (["quota", "enable", str(home)], ["qgroup", "limit", "16M", str(home)]):
            subprocess.run(["btrfs", *words], check=True, stdout=subprocess.DEVNULL)

    def mounted_again() -> None:
        if way == "a disk that gives up":
            subprocess.run(["umount", "-l", str(home)], check=True)
            _mount("-o", "loop", str(image), str(home))

    yield mounted_again


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def _run(faults: Faults, home: Path, target: Path, way: str, when: str) -> tuple[int | None, str]:
    if when == "reading":
        WAYS[way](target)
        return ended(started(faults, home, "status"), START_SECONDS)
    if when == "start":
        WAYS[way](target)
        return ended(started(faults, home, *JOIN, "--for", "2s"), PATIENCE_SECONDS)
    before = time.time()
    node = started(faults, home, *JOIN, "--for", "7s")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and (home / "status.json").stat().st_mtime < before:  # written when it runs
        time.sleep(0.1)
    WAYS[way](target)
    with suppress(OSError):
        asked = started(faults, home, "suggest", "Something else")
        ended(asked, START_SECONDS)
    return ended(node, PATIENCE_SECONDS)


def _first_line(text: str, home: Path) -> str:
    lines = [line.replace(str(home), "HOME") for line in text.splitlines()]
    told = [line for line in lines if line.startswith("autoresearch-node:") or "!" in line[8:10]]
    return (told or [line for line in lines if "stopped" in line] or lines or ["(nothing)"])[0]


def _lost(good: Path, home: Path, file: str) -> list[str]:
    """What of the person's, or signed, is nowhere in the home any more, but for what this cell took away itself."""
    there = {hashlib.sha256(each.read_bytes()).digest() for each in home.rglob("*") if each.is_file()}
    lost = []
    for name in PRECIOUS:
        taken = name == file or name.startswith(f"{file}/")
        if not taken and hashlib.sha256((good / name).read_bytes()).digest() not in there:
            lost.append(f"LOST {name}")
    if file != "ledger.sqlite" and b"Warm the rate up" not in b"".join(
        each.read_bytes() for each in home.glob("ledger*") if each.is_file()
    ):
        lost.append("LOST the record")
    return lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=FILES, help="this file (repeatable)")
    parser.add_argument("--ways", action="append", choices=tuple(WAYS), help="this damage (repeatable)")
    parser.add_argument("--when", action="append", choices=WHEN)
    parser.add_argument("--side-by-side", type=int, default=2)
    options = parser.parse_args()
    if os.geteuid():
        raise SystemExit("only root can give files to another user and mount small disks; run this as root")
    have_own_mounts()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="home-matrix-") as folder_name:
        at = Path(folder_name)
        at.chmod(0o755)
        faults = Faults.compiled(at)
        good = good_home(at, faults)
        cells = [
            (file, way, when)
            for file in options.only or FILES
            for way in options.ways or WAYS
            for when in options.when or WHEN
            if (way in OF_THE_HOME if file == WHOLE_HOME else way not in OF_DISKS)
        ]
        with ThreadPoolExecutor(options.side_by_side) as pool:
            found = list(pool.map(lambda cell: _told(tried(good, at, faults, *cell)), cells))
    wrong = [cell for cell in found if cell.wrong]
    print(f"\n{len(found)} tries, {len(wrong)} with something wrong")
    for cell in wrong:
        print(f"  {cell.file}, {cell.way}, {cell.when}: {cell.wrong}")
    sys.exit(1 if wrong else 0)


def _told(cell: Cell) -> Cell:
    print(
        f"{cell.file:16} {cell.way:18} {cell.when:8} {cell.status!s:>4}  {cell.wrong:10} {cell.line[:150]}", flush=True
    )
    return cell


if __name__ == "__main__":
    main()
