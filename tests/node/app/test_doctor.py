"""The check-up: each need is checked on this machine, and what is missing comes with a remedy."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from node.app import doctor, gpu_checkup, model_checkup
from node.app.doctor import checkup
from node.platform import hardware
from node.platform.config import Config, load_config
from node.platform.gpus import Gpu, GpuUse
from node.platform.home import Home
from node.proposers import model_services
from node.view.model.findings import Finding
from node.view.terminal.checkup import report
from tests.node.json_forms_for_tests import hold


def config_for(tmp_path: Path, *listen: str) -> Config:
    return load_config(None, {"home": str(tmp_path / "home"), "listen": listen or ["/ip4/127.0.0.1/tcp/0"]})


def found(config: Config, name: str) -> list[Finding]:
    return [finding for finding in checkup(config) if finding.name == name]


@pytest.mark.sockets
def test_an_engine_that_a_person_chose_and_that_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    (finding,) = found(replace(config_for(tmp_path), sandbox="docker"), "sandbox")
    assert (finding.ok, finding.found.split(",")[0]) == ("missing", "none that is enough")
    assert "docker (not installed)" in finding.remedy


@pytest.mark.sockets
@pytest.mark.sandbox
def test_everything_a_node_needs_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_services, "USUAL_PORTS", {})  # servers and agents may be on this machine, or not
    monkeypatch.setattr(model_checkup, "PRESETS", {})
    findings = checkup(config_for(tmp_path))
    assert [f.name for f in findings] == [
        "python", "git", "packages", "torch", "sandbox", "cpu meter", "memory", "gpu", "objective", "port", "disk",
        "model", "agent",
    ]  # fmt: skip
    for finding in findings:
        assert finding.found
        assert bool(finding.remedy) == (finding.ok != "ok"), finding


def test_the_check_up_changes_nothing_and_does_not_load_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from node.platform.config import load_config; from node.app.doctor import checkup;"
        f"checkup(load_config(None, {{'home': {str(tmp_path / 'home')!r}}})); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_git_is_reported_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = doctor._git()
    assert (finding.ok, finding.found) == ("missing", "not on the PATH")
    assert "install git" in finding.remedy


@pytest.mark.sockets
@pytest.mark.sandbox
def test_a_port_that_another_program_has_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"/ip4/127.0.0.1/tcp/{other.getsockname()[1]}"
        (finding,) = found(config_for(tmp_path, address), "port")
        assert finding.ok == "missing"
        assert "another node or program has this port" in finding.remedy
        home = Home(tmp_path / "home")
        home.make()
        with home.locked():  # a node that runs here has its own port
            (finding,) = found(config_for(tmp_path, address), "port")
            assert finding.ok == "ok"


@pytest.mark.sockets
def test_a_remembered_port_that_another_program_has_is_a_warning(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        finding = doctor._port("/ip4/127.0.0.1/tcp/0", running=False, last=port)
        assert (finding.ok, doctor._port("/ip4/127.0.0.1/tcp/0", running=True, last=port).ok) == ("warn", "ok")
        assert str(port) in finding.found


@pytest.mark.sockets
@pytest.mark.sandbox
def test_an_address_that_is_not_this_machines_is_reported(tmp_path: Path) -> None:
    own, strange = found(config_for(tmp_path, "/ip4/127.0.0.1/tcp/0", "/ip4/192.0.2.1/tcp/4001"), "port")
    assert own.ok == "ok"
    assert "this machine has no such address" in strange.remedy


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        ("tinylm", "a new home begins with tinylm, as the settings say"),
        ("nanolm", "here at its scale cpu (131,072 tokens): "),
    ],
)
def test_the_objective_that_the_settings_name_is_told_with_the_scale_it_has_here(
    tmp_path: Path, objective: str, told: str
) -> None:
    finding = doctor._objective(replace(config_for(tmp_path), objective=objective, gpu=False))
    assert finding.ok == "ok"
    assert told in finding.found


def test_settings_that_name_no_objective_are_reported_before_a_node_starts(tmp_path: Path) -> None:
    finding = doctor._objective(replace(config_for(tmp_path), objective="nanolmm"))
    assert finding.ok == "missing"
    assert "no objective 'nanolmm': give one of" in finding.found
    assert "[swarm] in swarm.toml" in finding.remedy


def test_a_disk_that_is_full_or_read_only_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_for(tmp_path)
    for free, expected in ((1 << 40, "ok"), (1 << 30, "warn"), (1 << 20, "missing")):
        monkeypatch.setattr("shutil.disk_usage", lambda place, free=free: SimpleNamespace(free=free))
        assert doctor._disk(config).ok == expected
    (tmp_path / "home").write_text("a file where the home should be")
    assert doctor._disk(config).ok == "missing"


def test_a_package_that_differs_from_its_pin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pins = ["rich==0.0.1", "no-such-package==1.0", "torch==9.9", 'ruff==1; extra == "test"']
    monkeypatch.setattr("importlib.metadata.requires", lambda name: pins)
    finding = doctor._packages()
    assert finding.ok == "missing"
    assert "needs 0.0.1; no-such-package is missing, needs 1.0" in finding.found
    assert "torch" not in finding.found
    assert "ruff" not in finding.found


CARD = Gpu(0, "NVIDIA H200", 140 << 30, "nvidia", "GPU-0", "580.159.04", ("/dev/nvidiactl", "/dev/nvidia0"))


class Driver:
    """Says that one process computes on every GPU."""

    def gpus(self) -> tuple[Gpu, ...]:
        return ()

    def use(self, gpu: Gpu) -> GpuUse | None:
        return GpuUse(100 << 30, 140 << 30, {4711: 40 << 30}, 97, 61)


@pytest.mark.parametrize(
    ("gpu", "torch", "setting", "grade", "found", "remedy"),
    [
        (CARD, "2.13.0+cu130", True, "ok", "compute on it now: 1; 100.0 GiB free, 61 °C", ""),
        (CARD, "2.13.0+cpu", True, "warn", "only commands", "a build for processors only; install one for CUDA"),
        (CARD, "2.13.0+cu130", False, "ok", "gpu = false in swarm.toml keeps runs off it", ""),
        (CARD, "2.13.0+cu130", [1], "ok", "leaves out number 0", ""),
        (replace(CARD, problem="divided by MIG"), "2.13.0+cu130", True, "warn", "runs cannot use it", "divided by MIG"),
        (replace(CARD, vendor="amd"), "2.13.0+rocm7.1", True, "ok", "untried", ""),
    ],
)
def test_each_gpu_is_named_with_what_runs_can_do_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    gpu: Gpu, torch: str, setting: object, grade: str, found: str, remedy: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(hardware, "torch_version", lambda: torch)
    config = load_config(None, {"home": str(tmp_path / "home"), "gpu": setting})
    first, *doors = gpu_checkup._findings(config, Driver(), (gpu,), False)
    assert (first.name, first.ok) == ("gpu", grade)
    assert "0: NVIDIA H200, 140.0 GiB, driver 580.159.04" in first.found
    assert found in first.found
    assert remedy in first.remedy
    assert bool(remedy) == bool(first.remedy)
    opened = setting is True and not gpu.problem
    assert [finding.name for finding in doors] == ["gpu doors"] * opened
    for finding in doors:
        assert "/dev/nvidiactl, /dev/nvidia0" in finding.found


def test_a_driver_that_does_not_answer_is_reported(tmp_path: Path) -> None:
    (finding,) = gpu_checkup._findings(config_for(tmp_path), Driver(), (), True)
    assert (finding.ok, finding.remedy) == ("warn", "try nvidia-smi, or restart")


def test_findings_are_shown_as_a_table_or_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [Finding("python", "ok", "3.11", ""), Finding("git", "missing", "[b]none[/b]", "install git")]
    assert report(findings[:1], as_json=False) == 0
    assert report(findings, as_json=False) == 1
    assert "[b]none[/b]\n" in capsys.readouterr().out.replace(" ", "")
    assert report(findings, as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    hold("doctor", told)
    assert told[1] == {
        "name": "git", "ok": "missing", "found": "[b]none[/b]", "remedy": "install git",
    }  # fmt: skip
