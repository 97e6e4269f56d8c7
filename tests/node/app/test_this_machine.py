"""Where nobody says what to research, the machine does; an option, an invite or what was researched here wins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node.app.researched import use
from node.app.this_machine import objective_for_this_machine, on_this_machine
from node.cli.main import main
from node.objective.catalog import named_objective
from node.platform import gpus, hardware
from node.platform.config import load_config
from node.platform.gpus import Gpu
from node.platform.home import Home
from tests.node.execution.small_objective import copy_in_files

pytestmark = [pytest.mark.sandbox, pytest.mark.sockets]


def joined(home: Path, *arguments: str) -> list[dict[str, Any]]:
    """The log of a node that starts, finds that its data have no room, and ends."""
    home.mkdir(exist_ok=True)
    with pytest.raises(SystemExit):
        main(["join", "--home", str(home), "--no-dashboard", "--for", "1s", *arguments])
    return [json.loads(line) for line in (home / "node.log.jsonl").read_text().splitlines()]


def test_a_new_home_begins_with_what_suits_the_machine_and_says_why(tmp_path: Path) -> None:
    first, second, *_ = joined(tmp_path / "home")
    assert (first["event"], first["title"]) == ("objective chosen", "tinylm")
    assert first["why"] == "no usable GPU is here: there is no GPU"
    assert (second["event"], second["title"]) == ("objective", "tinylm")


@pytest.mark.long
def test_an_option_the_settings_and_what_was_researched_here_win(tmp_path: Path) -> None:
    root, home = copy_in_files(tmp_path), tmp_path / "home"
    settings = tmp_path / "swarm.toml"
    settings.write_text(f'[swarm]\nobjective = "{root}"\n')
    for arguments in (("--objective", str(root)), ("--config", str(settings)), ()):
        events = [event["event"] for event in joined(home, *arguments)]
        assert "objective chosen" not in events
        assert "another objective" not in events
    use(Home(home), "tinylm")
    assert {event["title"] for event in joined(home) if event["event"] == "objective"} == {"in files", "tinylm"}
    assert "objective chosen" in [event["event"] for event in joined(home, "--objective", "auto")]


def test_where_runs_have_a_gpu_it_is_the_objective_for_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Gpu(0, "a card", 12 << 30, "nvidia", "GPU-0", "580", ("/dev/nvidia0",))
    monkeypatch.setattr(gpus, "installed", lambda: ((card,), ()))
    monkeypatch.setattr(hardware, "torch_version", lambda: "2.13.0+cu130")
    config = load_config(None, {"home": str(tmp_path)})
    assert objective_for_this_machine(config) == ("nanolm", "a usable GPU is here: a card")
    found = on_this_machine(named_objective("nanolm"), config)
    assert (found.objective.scale, found.objective.device, found.why) == ("", "gpu", "")
    forbidden = load_config(None, {"home": str(tmp_path), "gpu": False})
    name, why = objective_for_this_machine(forbidden)
    assert name == "tinylm"
    assert "[research] gpu = false in swarm.toml" in why
    assert "elsewhere" not in why
    found = on_this_machine(named_objective("nanolm"), forbidden)
    assert (found.objective.scale, found.objective.device) == ("cpu", "cpu")
    assert "[research] gpu = false in swarm.toml" in found.why


def test_where_no_gpu_is_nanolm_runs_at_its_scale_for_a_cpu(tmp_path: Path) -> None:
    found = on_this_machine(named_objective("nanolm"), load_config(None, {"home": str(tmp_path)}))
    assert (found.objective.scale, found.objective.device, found.why) == ("cpu", "cpu", "there is no GPU")
    assert found.objective.budget.tokens == 131_072
    assert found.objective.id == named_objective("nanolm").id


def test_a_node_with_workers_elsewhere_does_not_know_what_they_have_when_it_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "installed", lambda: ((), ()))
    settings = tmp_path / "swarm.toml"
    settings.write_text('[workers]\ncommand = ["srun", "autoresearch-node", "worker"]\n')
    name, why = objective_for_this_machine(load_config(settings, {"home": str(tmp_path)}))
    assert name == "tinylm"
    assert "what workers elsewhere have is not known yet" in why


def test_workers_elsewhere_are_taken_to_have_what_the_objective_is_for_unless_the_settings_keep_gpus_out(
    tmp_path: Path,
) -> None:
    nanolm = named_objective("nanolm")
    settings = tmp_path / "swarm.toml"
    workers = '[workers]\ncommand = ["srun", "autoresearch-node", "worker"]\n'
    settings.write_text(workers)
    assert on_this_machine(nanolm, load_config(settings, {})).objective.scale == ""
    settings.write_text(workers + "[research]\ngpu = false\n")
    found = on_this_machine(nanolm, load_config(settings, {}))
    assert (found.objective.device, found.why) == ("cpu", "[research] gpu = false in swarm.toml")
