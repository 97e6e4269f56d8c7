"""Completion at TAB, asked of the shell itself: commands, commands below commands, options."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from node.cli.main import main

ASK_BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
$(complete -p autoresearch-node | sed -E 's/.*-F ([^ ]+).*/\\1/') autoresearch-node "${COMP_WORDS[COMP_CWORD]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(capsys: pytest.CaptureFixture[str], shell: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["completion", shell])
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("le",), {"ledger", "leaderboard"}),
        (("objective", "i"), {"import"}),
        (("export", "--fo"), {"--format"}),
        (("export", "--format", "tensor"), {"tensorboard"}),
        (("completion", "z"), {"zsh"}),
    ],
)
def test_bash_completes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, typed: tuple[str, ...], offered: set[str]
) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    (tmp_path / "script").write_text(script(capsys, "bash"))
    words = ["autoresearch-node", *typed]
    asked = subprocess.run(
        [bash, "-c", ASK_BASH, "bash", str(tmp_path / "script"), *words], capture_output=True, text=True, check=True
    )
    assert set(asked.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_scripts_of_other_shells_know_the_commands(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    text = script(capsys, shell)
    for word in ("leaderboard", "publish", "import", "tensorboard"):
        assert word in text
