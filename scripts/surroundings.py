"""Does a node do the same whatever it is started in? Environment variables, locales, terminals and clocks, as a table.

    .venv/bin/python scripts/surroundings.py [--only variables|locales|output|clocks] [--case NAME ...]
        [--trained] [--side-by-side 2]

In each case the real program makes one experiment in a home of its own, with a seed, so that every run must come to the
same value, and then lists it. Runs are those of a command of no consequence, which takes a moment; with --trained they
are small trainings of tinylm, for what turns torch. Told are the exit status, whether the value is the usual one,
whether a traceback was printed, whether a repository of somebody else's that the environment points to was changed, and
the last line where something was said. Exits with 1 where a case fails. The time of day is falsified by
scripts/faults.py, which needs gcc: libfaketime moves the CPU clocks, too, by which a node measures its runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from faults import Faults, set_clock
from swarm_here import LOOPBACK, PROGRAM, command_objective, small_objective

TOKENS = 16_384
PATIENCE_SECONDS = 240.0
UNTIL_THE_CLOCK_JUMPS = 6.0  # the node is started by then, and its first run under way
HOUR, DAY, YEAR = 3600.0, 86400.0, 365 * 86400.0
CONFLICTING = (
    "[core]\n\tautocrlf = true\n\thooksPath = /nowhere\n[commit]\n\tgpgsign = true\n[init]\n\ttemplateDir = /nowhere\n"
)


@dataclass(frozen=True)
class Case:
    """One way to be started. refused: it may refuse, as nothing could go on; then a sentence is wanted."""

    group: str
    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    shell: str = ""  # put behind the command, for standard output and input
    refused: bool = False
    clock: tuple[float, ...] = ()  # by how many seconds the time of day is off: at the start, and then from a jump on


def variables(elsewhere: Path) -> Iterator[Case]:
    """elsewhere: a folder with somebody's repository `repository`, and a file `gitconfig` of odd settings."""
    repository = elsewhere / "repository"
    plain: dict[str, str] = {
        "GIT_DIR": str(repository / ".git"),
        "GIT_INDEX_FILE": str(repository / ".git" / "index"),
        "GIT_WORK_TREE": str(repository),
        "GIT_OBJECT_DIRECTORY": str(repository / ".git" / "objects"),
        "GIT_CONFIG_GLOBAL": str(elsewhere / "gitconfig"),
        "GIT_CONFIG_SYSTEM": str(elsewhere / "gitconfig"),
        "GIT_CONFIG_COUNT": "3",
        "GIT_TEMPLATE_DIR": "/nowhere",
        "GIT_EXEC_PATH": "/nowhere",
        "GIT_TRACE": "1",
        "GIT_AUTHOR_DATE": "never",
        "GIT_NAMESPACE": "other",
        "GIT_DEFAULT_HASH": "sha256",
        "GIT_PYTHON_TRACE": "full",
        "GIT_PYTHON_GIT_EXECUTABLE": "/nowhere/git",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "gopher://127.0.0.1:9",
        "ALL_PROXY": "socks4://127.0.0.1:9",
        "SSL_CERT_FILE": "/nowhere",
        "OPENAI_BASE_URL": "http://127.0.0.1:9",
        "OPENAI_LOG": "debug",
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "2",
        "PYTHONHASHSEED": "7",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONSTARTUP": "/nowhere.py",
        "PYTHONBREAKPOINT": "os.abort",
        "PYTHONDEVMODE": "1",
        "PYTHONMALLOC": "debug",
        "LD_LIBRARY_PATH": "/nowhere",
        "TMPDIR": "/nowhere",
        "HOME": "",
        "USER": "",
        "SHELL": "/nowhere",
        "XDG_RUNTIME_DIR": "/nowhere",
        "XDG_CONFIG_HOME": "relative",
        "XDG_CACHE_HOME": "/dev/null",
        "TERM": "unknown",
        "COLUMNS": "0",
        "LINES": "many",
        "NO_COLOR": "1",
        "FORCE_COLOR": "1",
        "TZ": "Nowhere/Never",
        "OMP_NUM_THREADS": "many",
        "MKL_NUM_THREADS": "0",
        "OMP_WAIT_POLICY": "active",
        "KMP_AFFINITY": "scatter",
        "CUDA_VISIBLE_DEVICES": "none of them",
        "TORCH_LOGS": "+all",
        "TORCH_SHOW_CPP_STACKTRACES": "1",
        "MALLOC_PERTURB_": "165",
        "SQLITE_TMPDIR": "/nowhere",
        "BASH_ENV": "/nowhere",
        "CDPATH": "/",
        "PAGER": "/nowhere",
        "LOCPATH": "/nowhere",
    }
    for name, value in plain.items():
        yield Case("variables", f"{name}={value[-24:]}", {name: value})
    yield Case("variables", "HOME=/nowhere", {"HOME": "/nowhere"})
    yield Case("variables", "PATH is empty", {"PATH": ""}, refused=True)


def locales() -> Iterator[Case]:
    for value in ("C", "POSIX", "C.UTF-8", "en_US.ISO-8859-1", "de_DE.UTF-8", "tr_TR.UTF-8", "ja_JP.eucJP", "nonsense"):
        yield Case("locales", f"LC_ALL={value}", {"LC_ALL": value})
    for value in ("ascii", "latin-1", "utf-16", "cp1252"):
        yield Case("locales", f"PYTHONIOENCODING={value}", {"PYTHONIOENCODING": value})
    yield Case("locales", "PYTHONUTF8=0, LC_ALL=C", {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"})


def outputs() -> Iterator[Case]:
    for shell in (">/dev/full", ">&-", "2>&-", "<&-", ">&- 2>&- <&-", "2>/dev/full", "| true", "| head -c 100"):
        yield Case("output", shell, shell=shell)


def clocks(now: float) -> Iterator[Case]:
    """now: seconds since 1970."""
    for name, off in {
        "a minute behind": -60.0,
        "an hour ahead": HOUR,
        "a day ahead": DAY,
        "a year ahead": YEAR,
        "a year behind": -YEAR,
        "30 years behind": -30 * YEAR,
        "1970": DAY - now,
        "beyond 2038": 12 * YEAR,
        "beyond 2106": 81 * YEAR,
        "the year 2250": 224 * YEAR,  # Python has no time beyond 2262
    }.items():
        yield Case("clocks", name, clock=(off,))
    for name, (off, then) in {
        "a jump of an hour ahead": (0.0, HOUR),
        "a jump of an hour back": (0.0, -HOUR),
        "a jump of a year ahead": (0.0, YEAR),
        "a jump of a year back": (0.0, -YEAR),
        "set right from 1970": (DAY - now, 0.0),
        "set right from a year ahead": (YEAR, 0.0),
        "a jump to 1970": (0.0, DAY - now),
    }.items():
        yield Case("clocks", name, clock=(off, then))


@dataclass(frozen=True)
class Came:
    """What came of a case."""

    status: int
    value: float | None
    traceback: bool
    touched: bool
    said: str


def digest(folder: Path) -> str:
    """Of all files below a folder, so that a change is seen."""
    seen = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        seen.update(str(path).encode() + path.read_bytes())
    return seen.hexdigest()


def begin_home(home: Path, objective: Path) -> None:
    """A home with a key and an empty ledger. Every case has a copy: the seeds of runs follow from the key."""
    join = ["join", "--no-dashboard", "--no-research", "--objective", str(objective), "--for", "1s"]
    command = [*PROGRAM, *join, "--home", str(home), "--listen", LOOPBACK]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (home / "port").unlink()  # or all cases would be after the same one


def begin_clock(case: Case, folder: Path, faults: Faults) -> dict[str, str]:
    """Falsify the time of day as the case says; returns the variables by which a program is told so."""
    if not case.clock:
        return {}
    set_clock(folder, case.clock[0])
    for off in case.clock[1:]:
        jump = threading.Timer(UNTIL_THE_CLOCK_JUMPS, set_clock, (folder, off))
        jump.daemon = True
        jump.start()
    return faults.environment(folder)


def try_case(case: Case, folder: Path, objective: Path, elsewhere: Path, faults: Faults) -> Came:
    home, printed = folder / "home", folder / "printed"
    shutil.copytree(elsewhere.parent / "home", home)
    environment = {**os.environ, **case.variables, **begin_clock(case, folder, faults)}
    before = digest(elsewhere)
    join = ["join", "--no-dashboard", "--objective", str(objective), "--experiments", "1", "--seed", "1"]
    command = [*PROGRAM, *join, "--home", str(home), "--listen", LOOPBACK]
    # "$@" is the command; a shell redirects, so that descriptors can be closed and pipes broken.
    script = f'{{ "$@" {case.shell}; }} >>"{printed}" 2>&1'
    try:
        done = subprocess.run(
            ["/bin/bash", "-c", script, "bash", *command],
            env=environment, cwd=folder, stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        status = done.returncode
    except subprocess.TimeoutExpired:
        status = 124
    listed = subprocess.run([*PROGRAM, "records", "--json", "--home", str(home)], capture_output=True, text=True)
    value = None
    if listed.returncode == 0:
        found = [record for record in json.loads(listed.stdout) if record["kind"] == "experiment"]
        pair = found[0]["body"]["screening"] if found else None
        value = pair[2][0] if pair else None  # seed, parent, child; the value is a run's first field
    text = printed.read_text(errors="replace") if printed.exists() else ""
    loud = [line for line in text.splitlines() if " !" in line or line.startswith("autoresearch-node:")]
    return Came(status, value, "Traceback" in text, digest(elsewhere) != before, loud[-1][:110] if loud else "")


def somebodys(folder: Path) -> Path:
    """Somebody else's repository, and settings of git that would break the node's."""
    repository = folder / "repository"
    repository.mkdir(parents=True)
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(repository), *words], check=True)
    (repository / "file").write_text("staged\n")
    subprocess.run(["git", "-C", str(repository), "add", "file"], check=True)
    (folder / "gitconfig").write_text(CONFLICTING)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["variables", "locales", "output", "clocks"])
    parser.add_argument("--case", nargs="*", default=[], help="only cases whose name begins so")
    parser.add_argument("--trained", action="store_true", help="with runs of tinylm")
    parser.add_argument("--side-by-side", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="surroundings-") as name:
        root = Path(name)
        objective = small_objective(root, TOKENS) if options.trained else command_objective(root)
        elsewhere = somebodys(root / "elsewhere")
        begin_home(root / "home", objective)
        faults = Faults.compiled(root)
        usual = try_case(Case("", "usual"), _folder(root, "usual"), objective, elsewhere, faults)
        print(f"usual: status {usual.status}, value {usual.value}", flush=True)
        assert usual.value is not None, usual
        cases = [*variables(elsewhere), *locales(), *outputs(), *clocks(time.time())]
        wanted = [case for case in cases if options.only in (None, case.group)]
        wanted = [case for case in wanted if not options.case or case.name.startswith(tuple(options.case))]

        def tried(number: int) -> bool:
            case = wanted[number]
            came = try_case(case, _folder(root, str(number)), objective, elsewhere, faults)
            same = came.value == usual.value
            good = not came.traceback and not came.touched and (same or (case.refused and bool(came.said)))
            marks = [*(["TRACEBACK"] if came.traceback else []), *(["CHANGED A REPOSITORY"] if came.touched else [])]
            what = "as usual" if same else f"value {came.value}"
            row = f"{case.group:10} {case.name:44} status {came.status:3} {what:12} {' '.join(marks)} {came.said}"
            print(f"{'ok  ' if good else 'FAIL'} {row}".rstrip(), flush=True)
            return good

        with ThreadPoolExecutor(options.side_by_side) as pool:
            failures = list(pool.map(tried, range(len(wanted)))).count(False)
    print(f"{len(wanted)} cases, {failures} failed")
    return 1 if failures else 0


def _folder(root: Path, name: str) -> Path:
    folder = root / "cases" / name
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
