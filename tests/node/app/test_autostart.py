"""Starting with the computer: the unit that is written, and the commands that systemd gets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from node.app import autostart
from node.app.autostart import (
    AutostartError,
    Program,
    ServiceManager,
    install,
    service_manager,
    systemd_unit,
    uninstall,
)
from node.cli.main import main
from node.cli.service import absolute
from node.platform.config import load_config
from tests.node.json_forms_for_tests import hold

FAKE = """#!/bin/sh
here="$(dirname "$0")/.."
echo "$@" >> "$here/asked"
[ "$2" != "$(cat "$here/fails")" ] || { echo "it is broken" >&2; exit 1; }
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(Path("/opt/my python/bin/python"), Path("/opt/node"), tmp_path / "home", ("--for", "2h"))


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a little systemctl on the PATH was asked, a line each."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "systemctl").write_text(FAKE)
    (folder / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "fails").write_text("nothing")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "asked"


def of(program: Program, system: str = "linux") -> ServiceManager:
    return service_manager(program, system)


# ---- what is written -----------------------------------------------------------------------------------------------


def test_a_systemd_unit_starts_this_interpreter_gently_and_again_after_failures(program: Program) -> None:
    lines = systemd_unit(program).splitlines()
    assert "Delegate=yes" in lines  # or no control group could be made for each run
    home = program.home
    assert f'ExecStart="/opt/my python/bin/python" "-m" "node" "join" "--home" "{home}" "--for" "2h"' in lines
    for line in (
        "Nice=19", "IOSchedulingClass=idle", "Restart=on-failure", "KillSignal=SIGINT", "TimeoutStopSec=60",
        "RestartPreventExitStatus=2", f"EnvironmentFile=-{home}/environment", "WantedBy=default.target",
    ):  # fmt: skip
        assert line in lines


def test_no_word_of_an_option_means_something_to_systemd(program: Program) -> None:
    odd = replace(program, options=("--objective", '/a b/50%/$HOME/"c"\\d'))
    assert '"/a b/50%%/$$HOME/\\"c\\"\\\\d"' in systemd_unit(odd)


def test_systemd_itself_finds_the_unit_in_order(tmp_path: Path, program: Program) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd's own check of the unit: apt install systemd")
    real = replace(program, interpreter=Path(sys.executable), folder=tmp_path)
    unit = tmp_path / "autoresearch-node-test.service"
    unit.write_text(systemd_unit(real))
    command = ["systemd-analyze", "--user", "verify", "--man=no", str(unit)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    newer = ("RestartSteps", "RestartMaxDelaySec")  # systemd before 254 passes over them, and says so
    told = [line for line in done.stderr.splitlines() if not any(key in line for key in newer)]
    assert (done.returncode, told) == (0, [])


def test_each_home_has_a_service_of_its_own(program: Program) -> None:
    usual = replace(program, home=load_config(None, {}).home)
    assert usual.name == "autoresearch-node"
    assert len({usual.name, program.name, replace(program, home=Path("/elsewhere")).name}) == 3


def test_paths_are_written_out_because_a_service_starts_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "tinylm"):
        (tmp_path / name).mkdir()
    here = str(tmp_path / "mine")
    assert absolute(["--objective", "mine", "--for", "mine"]) == ["--objective", here, "--for", "mine"]
    assert absolute(["--objective=mine"]) == [f"--objective={tmp_path / 'mine'}"]
    assert absolute(["--objective", "tinylm"]) == ["--objective", "tinylm"]


# ---- what is asked -------------------------------------------------------------------------------------------------


def test_systemd_starts_it_now_and_with_the_computer(asked: Path, program: Program) -> None:
    kept = of(program)
    install(kept)
    assert kept.unit.read_text() == systemd_unit(program)
    unit = kept.unit.name
    assert asked.read_text().splitlines() == [
        "--user show-environment", "--user daemon-reload", f"--user enable {unit}", f"--user restart {unit}",
    ]  # fmt: skip
    assert autostart.status(kept)["running"]
    uninstall(kept)
    assert not kept.unit.exists()
    assert f"--user disable --now {unit}" in asked.read_text()
    assert not autostart.status(kept)["installed"]


def test_a_step_that_fails_is_reported_in_systemds_words(asked: Path, program: Program) -> None:
    asked.with_name("fails").write_text("enable")
    with pytest.raises(AutostartError, match="it is broken"):
        install(of(program))


def test_without_systemd_it_says_what_else_to_do(
    asked: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.with_name("fails").write_text("show-environment")
    with pytest.raises(AutostartError, match="a container"):
        install(of(program))
    assert not of(program).unit.exists()
    monkeypatch.setenv("PATH", str(program.home))
    with pytest.raises(AutostartError, match="a container"):
        install(of(program))
    with pytest.raises(AutostartError, match="by hand"):
        of(program, "win32")
    with pytest.raises(AutostartError, match="no sandbox for runs"):
        of(program, "darwin")


def test_keys_that_others_can_read_are_refused(asked: Path, program: Program) -> None:
    program.home.mkdir()
    variables = program.home / "environment"
    variables.write_text("OPENAI_API_KEY=secret-word\n")
    variables.chmod(0o644)
    with pytest.raises(AutostartError, match="chmod 600") as refused:
        install(of(program))
    assert "secret-word" not in str(refused.value)
    variables.chmod(0o600)
    install(of(program))
    assert "secret-word" not in of(program).unit.read_text()


# ---- the commands --------------------------------------------------------------------------------------------------


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out + captured.err


def test_a_dry_run_shows_everything_and_does_nothing(
    asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(tmp_path / "home")
    status, text = ask(capsys, "service", "install", "--home", home, "--dry-run", "--", "--for", "2h", "--no-research")
    assert status == 0
    assert f'"--home" "{home}" "--for" "2h" "--no-research"' in text
    assert "$ systemctl --user daemon-reload" in text
    assert not asked.exists()
    assert not (tmp_path / "config").exists()


@pytest.mark.sandbox
def test_install_and_uninstall_from_the_command_line(
    asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(tmp_path / "home")
    status, text = ask(capsys, "service", "install", "--home", home)
    assert status == 0
    assert "installed and started" in text
    assert "not running" not in ask(capsys, "service", "status", "--home", home)[1]
    told = json.loads(ask(capsys, "service", "status", "--home", home, "--json")[1])
    hold("service status", told)
    assert told["installed"]
    assert ask(capsys, "service", "uninstall", "--home", home)[0] == 0
    status, text = ask(capsys, "service", "uninstall", "--home", home)
    assert status == 2
    assert "no service is installed" in text


def test_options_that_join_would_not_take_are_refused_now(
    asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(tmp_path / "home")
    assert "not a duration" in ask(capsys, "service", "install", "--home", home, "--", "--for", "ever")[1]
    assert "by hand" in ask(capsys, "service", "install", "--home", home, "--", "ar1invite")[1]
    assert "before the --" in ask(capsys, "service", "install", "--home", home, "--", "--home", "/x")[1]
    assert not asked.exists()
