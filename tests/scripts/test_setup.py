"""Setting up: once, again when the pins change, from the start after a crash, and quickly when all is in place.

The scripts run for real in a copy of the project's root. Only Python and pip are stand-ins that write down what they
were asked for, since the real ones would fetch gigabytes.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TOOLS = (
    "awk", "bash", "cat", "chmod", "cksum", "cp", "cut", "dirname", "env", "flock", "grep", "mkdir", "mv", "readlink",
    "rm", "sed", "sleep", "tail", "tr",
)  # fmt: skip

PYTHON = """echo "$*" >>"$CALLS"
case "$*" in
"-c import sys"*) exit "${TOO_OLD:-0}" ;;
"-c import ensurepip"*) exit "${NO_VENV:-0}" ;;
"-c "*version*) exit "${TORCH_MISSING:-1}" ;;
"-c "*requires*) exit "${TORCH_FOR_PROCESSORS:-0}" ;;
"-m venv"*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
"-m pip install"*"-r "*"${FAILING_LIST:-no list}.txt"*) echo "$PIP_SAYS"; exit 1 ;;
"-m pip install"*" -e "*)
    while [ -e "$HOLD" ]; do sleep 0.01; done
    [ -z "${PIP_STATUS:-}" ] || exit "$PIP_STATUS"
    printf '#!/usr/bin/env bash\\nprintf "ran"; [ $# = 0 ] || printf " <%%s>" "$@"\\n' >"${0%/*}/autoresearch-node"
    for program in ruff mypy lint-imports; do cp "${0%/*}/autoresearch-node" "${0%/*}/$program"; done
    chmod +x "${0%/*}"/*
    ;;
"-m pytest"*) echo "pytest: $*"; exit "${PYTEST_STATUS:-0}" ;;
esac"""


NO_HEADER = """  error: subprocess-exited-with-error
      gcc -c src/curve.c
      src/curve.h:4:10: fatal error: gmp.h: No such file or directory
      error: command '/usr/bin/gcc' failed with exit code 1
  ERROR: Failed building wheel for fastecdsa
ERROR: Could not build wheels for fastecdsa, which is required to install pyproject.toml-based projects"""
NO_NETWORK = """WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError(\
'<HTTPSConnection object at 0x7f>: Failed to establish a new connection: [Errno -2] Name or service not known')': /six/
ERROR: Could not find a version that satisfies the requirement setuptools==84.2.1 (from versions: none)
ERROR: No matching distribution found for setuptools==84.2.1"""
ANOTHER_FILE = f"""ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated
    torch==2.13.0 from file:///mirror/torch-2.13.0.whl (from -r node.txt (line 7)):
        Expected sha256 {"a" * 64}
        Expected     or {"b" * 64}
             Got        {"c" * 64}
"""


@dataclass
class Project:
    """A copy of what the scripts need, with a PATH that holds little else."""

    root: Path
    path: Path

    @property
    def calls(self) -> Path:
        return self.root.parent / "calls"

    @property
    def hold(self) -> Path:
        return self.root.parent / "hold"

    def environment(self, **more: str) -> dict[str, str]:
        return {"PATH": str(self.path), "CALLS": str(self.calls), "HOLD": str(self.hold), **more}

    def run(self, script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "scripts" / script, *arguments],
            env=self.environment(**more), cwd=self.root.parent, capture_output=True, text=True, timeout=30,
        )  # fmt: skip

    def start(self, script: str, **more: str) -> subprocess.Popen[str]:
        command, pipe = [self.root / "scripts" / script], subprocess.PIPE
        return subprocess.Popen(command, env=self.environment(**more), stdout=pipe, stderr=pipe, text=True)

    def wait_until_pip_is_held(self) -> None:
        """The environment is made by then, and not yet filled."""
        give_up = time.monotonic() + 20.0
        while not (self.calls.exists() and f"-e {self.root}" in self.calls.read_text()):
            assert time.monotonic() < give_up, "the set-up never came to its installation"
            time.sleep(0.01)

    def add(self, name: str, code: str) -> None:
        """Put a program of bash onto the PATH."""
        (self.path / name).write_text(f"#!/usr/bin/env bash\n{code}\n")
        (self.path / name).chmod(0o755)

    def installs(self) -> list[str]:
        """What was installed since the last time this was asked for: names of lists, packages, and "project"."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        found = []
        for words in [line.split() for line in lines if line.startswith("-m pip install")]:
            if "-r" in words:
                assert {"--require-hashes", "--no-deps"} < set(words)
            words = words[: words.index("--disable-pip-version-check")]
            found.append("project" if "-e" in words else Path(words[-1]).stem if "-r" in words else words[-1])
        return found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root, path = tmp_path / "a project", tmp_path / "path"
    shutil.copytree(REPOSITORY / "scripts", root / "scripts", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(REPOSITORY / ".ci", root / ".ci")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, root / name)
    path.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found:
            (path / tool).symlink_to(found)
    made = Project(root, path)
    made.add("python3.11", PYTHON)
    return made


def test_join_sets_up_once_and_hands_over_its_arguments(project: Project) -> None:
    first = project.run("join", "ar1abc", "--home", "with space")
    assert first.returncode == 0
    assert first.stdout == "ran <join> <ar1abc> <--home> <with space>"
    assert first.stderr == "setting up in .venv (once; a few minutes, torch is the big part) ...\n"
    assert project.installs() == ["build", "compiled", "node", "torch", "accelerator", "project"]
    second = project.run("join")
    assert (second.stdout, second.stderr, project.installs()) == ("ran <join>", "", [])


def test_a_set_up_in_place_takes_no_time(project: Project) -> None:
    project.run("join")
    begun = time.monotonic()
    project.run("join")
    assert time.monotonic() - begun < 3.0


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt", "scripts/pinned/node.txt"])
def test_changed_pins_bring_the_environment_up_to_date(project: Project, changed: str) -> None:
    project.run("join")
    project.installs()
    with (project.root / changed).open("a") as file:
        file.write("# another pin\n")
    again = project.run("join")
    assert again.stderr == "bringing .venv up to date ...\n"
    assert project.installs()[-1] == "project"


def test_a_folder_that_was_moved_is_set_up_again(project: Project) -> None:
    project.run("join")
    project.installs()
    moved = Project(project.root.rename(project.root.with_name("elsewhere")), project.path)
    assert moved.run("join").returncode == 0
    assert moved.installs()[-1] == "project"


def test_what_the_tests_need_is_enough_for_a_node_but_not_the_other_way_round(project: Project) -> None:
    project.run("join")
    project.installs()
    project.run("test")
    assert project.installs() == ["build", "compiled", "node", "torch", "accelerator", "test", "project"]
    project.run("join")
    assert project.installs() == []


@pytest.mark.parametrize("end", ["killed", "interrupted"])
def test_an_environment_that_was_left_half_made_is_made_again(project: Project, end: str) -> None:
    if end == "killed":
        assert project.run("join", PIP_STATUS="137").returncode == 1
    else:
        project.hold.touch()
        process = project.start("join", PIP_STATUS="1")
        project.wait_until_pip_is_held()
        # Not SIGINT: sent to bash alone, it is lost at times when the command bash waits for then ends by itself.
        process.send_signal(signal.SIGTERM)
        project.hold.unlink()
        assert "interrupted" in process.communicate(timeout=30)[1]
        assert process.returncode == 130
    leftover = project.root / ".venv" / "leftover"
    leftover.touch()
    again = project.run("join")
    assert again.returncode == 0
    assert again.stderr.startswith("an earlier set-up did not finish; starting it again\n")
    assert not leftover.exists()


def test_an_installation_that_pip_gave_up_is_gone_on_with(project: Project) -> None:
    failed = project.run("join", PIP_STATUS="1")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "Run this again to go on" in failed.stderr
    again = project.run("join")
    assert (again.returncode, again.stderr) == (0, "bringing .venv up to date ...\n")


def test_a_missing_compiler_is_told_before_the_big_download(project: Project) -> None:
    failed = project.run("join", FAILING_LIST="compiled", PIP_SAYS=NO_HEADER)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[1:] == [
        "src/curve.h:4:10: fatal error: gmp.h: No such file or directory",
        "error: command '/usr/bin/gcc' failed with exit code 1",
        "pip could not install fastecdsa, a part of libp2p. Without a network: connect. If it could not be compiled: "
        "apt install gcc libgmp-dev python3-dev (or what your system calls them). Run this again to go on. All that "
        "pip said is in .venv/set-up.log.",
    ]
    assert (project.root / ".venv" / "set-up.log").read_text() == NO_HEADER + "\n"
    assert project.installs() == ["build", "compiled"]


def test_without_a_network_it_is_the_network_that_is_told(project: Project) -> None:
    failed = project.run("join", FAILING_LIST="build", PIP_SAYS=NO_NETWORK)
    assert failed.stderr.splitlines()[1:] == [
        "no connection to the package index: Name or service not known",
        "ERROR: No matching distribution found for setuptools==84.2.1",
        "The set-up failed. Run this again to go on. All that pip said is in .venv/set-up.log.",
    ]


def test_a_package_that_differs_from_its_list_stops_the_set_up_until_a_person_accepts_it(project: Project) -> None:
    failed = project.run("join", FAILING_LIST="torch", PIP_SAYS=ANOTHER_FILE)
    assert failed.returncode == 1
    assert "torch 2.13.0, as it is served here, is none of the files that scripts/pinned lists" in failed.stderr
    assert f"{'c' * 64}. It was not installed." in failed.stderr
    assert "ACCEPT_UNLISTED=torch" in failed.stderr
    assert not (project.root / ".venv" / "autoresearch-node").exists()
    project.installs()
    accepted = project.run("join", ACCEPT_UNLISTED="torch psutil")
    assert accepted.returncode == 0
    installed = project.installs()
    assert [name.partition("==")[0] for name in installed] == [
        "set-up", "set-up", "psutil", "set-up", "torch", "project"
    ]  # fmt: skip
    assert "torch==2.13.0" in installed


def test_what_torch_needs_is_installed_though_torch_was_before_the_set_up_was_given_up(project: Project) -> None:
    assert project.run("join", FAILING_LIST="accelerator").returncode == 1
    project.installs()
    assert project.run("join", TORCH_MISSING="0").returncode == 0
    assert project.installs() == ["build", "compiled", "node", "accelerator", "project"]


def test_a_torch_for_processors_needs_no_libraries_of_gpus(project: Project) -> None:
    assert project.run("join", TORCH_FOR_PROCESSORS="1").returncode == 0
    assert "accelerator" not in project.installs()


def test_an_environment_whose_python_is_gone_keeps_its_packages(project: Project) -> None:
    project.run("join")
    python, package = (
        project.root / ".venv" / "bin" / "python",
        project.root / ".venv" / "lib" / "python3.11" / "package",
    )
    package.mkdir(parents=True)
    python.unlink()
    python.symlink_to(project.root / "gone")
    again = project.run("join")
    assert again.returncode == 0
    assert again.stderr == (
        "the Python that .venv was made with does not run here; .venv has another now, and keeps its packages\n"
        "bringing .venv up to date ...\n"
    )
    assert package.exists()


def test_an_environment_that_cannot_be_removed_is_put_aside_in_one_line(project: Project) -> None:
    assert project.run("join", PIP_STATUS="137").returncode == 1
    (project.path / "rm").unlink()
    refusing = 'for file in a b c; do echo "cannot remove $file" >&2; done; exit 1'
    project.add("rm", f'case "$*" in "-rf "*/.venv) {refusing} ;; *) exec {shutil.which("rm")} "$@" ;; esac')
    again = project.run("join")
    assert again.returncode == 0
    assert again.stderr.splitlines() == [
        "an earlier set-up did not finish; starting it again",
        "it cannot be removed by this user, and stays as .venv.unusable-1",
        "setting up in .venv (once; a few minutes, torch is the big part) ...",
    ]
    assert (project.root / ".venv.unusable-1" / "set-up.unfinished").exists()


def test_without_a_python_that_is_new_enough_the_way_out_is_told(project: Project) -> None:
    for more in ({"TOO_OLD": "1"}, {}):
        if not more:
            (project.path / "python3.11").unlink()
        failed = project.run("join", **more)
        assert failed.returncode == 1
        assert "No Python 3.11 or newer was found" in failed.stderr
        assert not (project.root / ".venv").exists()


def test_a_python_that_cannot_make_environments_is_told(project: Project) -> None:
    failed = project.run("join", NO_VENV="1")
    assert failed.returncode == 1
    assert "apt install python3-venv" in failed.stderr


@pytest.mark.skipif(shutil.which("flock") is None, reason="set-ups that wait for each other: apt install util-linux")
def test_two_at_once_set_up_once(project: Project) -> None:
    project.hold.touch()
    first = project.start("join")
    assert first.stderr is not None
    assert "setting up" in first.stderr.readline()
    second = project.start("join")
    assert second.stderr is not None
    assert second.stderr.readline() == "another set-up is running here; waiting for it ...\n"
    project.hold.unlink()
    assert [process.communicate(timeout=30)[0] for process in (first, second)] == ["ran <join>", "ran <join>"]
    assert project.installs().count("project") == 1


def test_test_checks_lint_format_and_types_and_ends_with_the_tests(project: Project) -> None:
    done = project.run("test", "-k", "one thing")
    assert done.stdout == (
        "ran <check> <.>ran <format> <--check> <.>ranran <--no-cache> <--no-logo>"
        "pytest: -m pytest -n 2 --dist worksteal -k one thing\n"
    )
    assert done.returncode == 0
    assert project.run("test", PYTEST_STATUS="1").returncode == 1
    (project.root / ".venv" / "bin" / "mypy").write_text("#!/usr/bin/env bash\nexit 1\n")
    failed = project.run("test")
    assert failed.returncode == 1
    assert "pytest: " in failed.stdout
    assert "lint, format, types or imports failed" in failed.stderr


def run_ci(project: Project, **more: str) -> subprocess.CompletedProcess[str]:
    command = [project.root / ".ci" / "run"]
    return subprocess.run(command, env=project.environment(**more), cwd="/", capture_output=True, text=True, timeout=30)


def test_ci_runs_the_tests_from_anywhere_and_lets_none_be_skipped(project: Project) -> None:
    done = run_ci(project, PYTEST_STATUS="5")
    assert "pytest: -m pytest -n 2 --dist worksteal --no-skips\n" in done.stdout
    assert done.returncode == 5


def test_ci_as_root_installs_what_the_tests_can_use_and_goes_on_without_what_it_cannot_get(project: Project) -> None:
    project.add("id", "echo 0")
    project.add("apt-get", 'echo "$*" >>"$CALLS"; exit 100')
    project.add("npm", 'echo "npm $*" >>"$CALLS"')
    done = run_ci(project)
    calls = project.calls.read_text()
    assert "-q update" in calls
    assert f"npm ci --prefix {project.root}/tests/interop" in calls
    assert "bubblewrap" in done.stderr
    assert "failed with status 100; going on without" in done.stderr
    assert done.returncode == 0


def test_ci_as_anybody_else_says_what_is_not_there(project: Project) -> None:
    project.add("id", "echo 1000")
    project.add("apt-get", 'echo "$*" >>"$CALLS"')
    project.add("bwrap", "")
    done = run_ci(project)
    lines = [line for line in done.stderr.splitlines() if line.startswith("not installed, as that takes root")]
    assert "chromium" in lines[-1]
    assert "bubblewrap" not in lines[-1]
    assert "update" not in project.calls.read_text()


def test_the_projects_own_pins_agree_with_the_constraints() -> None:
    pins = dict(
        line.lower().split("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line
    )
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for need in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
        name, _, version = need.lower().partition("==")
        assert name == "torch" or pins[name] == version
