"""Output on any terminal, and words that were misspelt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from node.cli.main import main
from node.cli.terminal import SPELLED, show_all_characters


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["jion"], "there is no 'jion'; did you mean 'join'?"),
        (["join", "--obective", "x"], "unrecognized arguments: --obective; did you mean '--objective'?"),
        (["objective", "nwe"], "did you mean 'new'?"),
        (["join", "--xyzzy"], "`autoresearch-node join --help` lists what there is"),
        (["status", "--experiments", "3"], "unrecognized arguments: --experiments 3; it is an option of `join`"),
        (["objective", "list", "--edit", "x"], "it is an option of `suggest`"),
        (["status", "--jsn"], "did you mean '--json'?"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_one_that_was_meant(
    typed: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(typed)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("group", [[], ["swarm"], ["key"], ["objective"], ["peer"], ["live"], ["ledger"], ["service"]])
def test_a_group_without_a_command_shows_its_help_and_is_no_success(
    group: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(group)
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (2, "")
    assert told.err.startswith(f"usage: {' '.join(['autoresearch-node', *group])} [-h] COMMAND")
    assert "--help" in told.err


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", "+/-1.5 u ... | # -> ?"), ("latin-1", "±1.5 µ ... | # -> ?")]
)
def test_what_a_terminal_cannot_show_is_spelled(encoding: str, shown: str) -> None:
    show_all_characters()
    assert "±1.5 µ … │ ▇ → 漢".encode(encoding, SPELLED).decode(encoding) == shown


@pytest.mark.parametrize(
    ("redirected", "status", "told"),
    [(">/dev/full", 2, "standard output: No space left on device"), (">&-", 0, ""), ("<&-", 0, ""), ("| true", 1, "")],
)
@pytest.mark.parametrize("words", ["objective list", "objective list --json", "--help"])
def test_standard_output_may_be_full_closed_or_a_broken_pipe(
    words: str, redirected: str, status: int, told: str, tmp_path: Path
) -> None:
    home = "" if words == "--help" else f"--home '{tmp_path}'"
    # Without a buffer the first line that is printed would tell; with one, the last.
    command = f"set -o pipefail; sleep 0.1; {sys.executable} -m node {words} {home} {redirected}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env={**environment, "HOME": ""})
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr
    assert told in done.stderr


INTERRUPTED_WHILE_READ = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background, a shell has it ignored

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "node.cli.main":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from node.__main__ import main
main()
"""


def test_ctrl_c_while_the_program_is_read_leaves_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED_WHILE_READ], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
