"""Settings changed from outside swarm.toml: checked as that file is, taken up by a running node, with a way back."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from node.app.availability import Availability
from node.cli.main import main
from node.platform.config import Config, load_config
from node.platform.home import Home
from node.platform.settings import SettingError, SettingsInUse, change, reset, settings, undo
from node.platform.settings_file import in_words


def config(home: Path) -> Config:
    return load_config(None, {"home": str(home)})


def one(home: Path, name: str, running: dict[str, Any] | None = None) -> dict[str, Any]:
    (found,) = [each for each in settings(config(home), running)["settings"] if each["name"] == name]
    return found


def test_a_change_lies_over_swarm_toml_which_is_never_written(tmp_path: Path) -> None:
    file = tmp_path / "swarm.toml"
    file.write_text('# mine\n[manners]\nhours = ["20:00-06:00"]  # at night\n')
    before = file.read_bytes()
    assert (one(tmp_path, "hours")["from"], one(tmp_path, "on_battery")["from"]) == ("swarm.toml", "default")
    assert change(config(tmp_path), "hours", "22:00-07:00, 12:00-13:00").endswith("from now on")
    assert config(tmp_path).hours == ((22 * 60, 7 * 60), (12 * 60, 13 * 60))
    shown = one(tmp_path, "hours")
    assert (shown["from"], shown["file_value"]) == ("changed", ["20:00-06:00"])
    assert shown["value"] == ["22:00-07:00", "12:00-13:00"]
    assert file.read_bytes() == before


def test_the_last_word_counts_whether_it_is_the_file_s_or_the_page_s(tmp_path: Path) -> None:
    change(config(tmp_path), "others_cpu_percent", "50")
    assert config(tmp_path).others_cpu_percent == 50
    (tmp_path / "swarm.toml").write_text("[manners]\nothers_cpu_percent = 80\n")
    assert config(tmp_path).others_cpu_percent == 80
    assert one(tmp_path, "others_cpu_percent")["from"] == "swarm.toml"
    change(config(tmp_path), "others_cpu_percent", "30")
    assert config(tmp_path).others_cpu_percent == 30


def test_there_is_a_way_back_one_by_one_and_all_at_once(tmp_path: Path) -> None:
    change(config(tmp_path), "workers", "2")
    change(config(tmp_path), "workers", "3")
    change(config(tmp_path), "on_battery", "on")
    assert undo(config(tmp_path)) == "on_battery back to off"
    assert undo(config(tmp_path)) == "workers back to 2"
    assert config(tmp_path).workers == 2
    assert not config(tmp_path).on_battery
    change(config(tmp_path), "gpu", "[0, 2]")
    reset(config(tmp_path), "workers")
    assert (config(tmp_path).workers, config(tmp_path).gpu) == (0, (0, 2))
    assert reset(config(tmp_path), "").startswith("1 changed setting is")
    assert config(tmp_path).gpu is True
    assert undo(config(tmp_path)) == "gpu back to 0, 2"
    assert config(tmp_path).gpu == (0, 2)
    for _ in range(3):
        undo(config(tmp_path))
    with pytest.raises(SettingError, match="nothing was changed"):
        undo(config(tmp_path))
    assert config(tmp_path) == load_config(None, {"home": str(tmp_path)})


def test_a_change_to_what_the_file_says_is_none(tmp_path: Path) -> None:
    change(config(tmp_path), "workers", "2")
    change(config(tmp_path), "workers", "0")
    assert one(tmp_path, "workers")["from"] == "default"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("hours", "25:00-07:00", r"\[manners\] hours is .*, expected a list of spans"),
        ("others_cpu_percent", "0", "expected a whole number from 1 to 100"),
        ("on_battery", "perhaps", "expected true or false"),
        ("workers", "1e9", "expected a whole number from 0 to 64"),
        ("gpu", "[0, -1]", "expected true, false or a list"),
        ("home", '"/tmp"', "there is no setting 'home' to change here"),
        ("llm_key_env", "X", "there is no setting"),
        ("hours", "[" * 5000, "expected a list of spans"),
    ],
)
def test_what_swarm_toml_would_refuse_is_refused_in_its_words(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        change(config(tmp_path), name, text)
    assert not (tmp_path / "changed-settings.json").exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"settings": 3}',
        '{"settings": {"workers": {"value": 99, "instead_of": 0}}, "before": []}',
        '{"settings": {"home": {"value": "/", "instead_of": "/"}}, "before": []}',
        "[" * 99_999,
    ],
)
def test_a_damaged_file_of_changes_changes_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "changed-settings.json").write_text(content)
    assert (config(tmp_path).workers, config(tmp_path).home) == (0, tmp_path)
    change(config(tmp_path), "workers", "2")
    assert config(tmp_path).workers == 2


def test_a_running_node_takes_up_what_can_change_while_it_runs(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    begun = config(tmp_path)
    in_use = SettingsInUse(begun, lambda event, **details: events.append({"event": event, **details}))
    availability = Availability(in_use.now(), Home(tmp_path))
    assert availability.reason_not_to_work() is None
    now = datetime.now()
    change(config(tmp_path), "hours", f"{(now.hour + 2) % 24:02}:00-{(now.hour + 3) % 24:02}:00")
    change(config(tmp_path), "workers", "7")
    availability.config = in_use.now()
    assert "hours" in (availability.reason_not_to_work() or "")
    assert in_use.now().workers == begun.workers, "from the next start on"
    assert [event["event"] for event in events] == ["settings changed"]
    told = {"settings": {"workers": begun.workers, "hours": []}}
    assert one(tmp_path, "workers", told)["pending"]
    reset(config(tmp_path), "")
    availability.config = in_use.now()
    assert availability.reason_not_to_work() is None


def test_a_file_that_is_wrong_leaves_a_running_node_as_it_was(tmp_path: Path) -> None:
    events: list[str] = []
    in_use = SettingsInUse(config(tmp_path), lambda event, **_: events.append(event))
    (tmp_path / "swarm.toml").write_text("[manners]\non_battery = 3\n")
    assert in_use.now() is in_use.config
    assert in_use.now() is in_use.config
    assert events == ["settings not read"]
    (tmp_path / "swarm.toml").write_text("[manners]\non_battery = true\n# right now\n")
    assert in_use.now().on_battery


def test_an_option_of_the_command_cannot_be_changed_under_it(tmp_path: Path) -> None:
    given = load_config(None, {"home": str(tmp_path), "workers": 3})
    with pytest.raises(SettingError, match="given as an option"):
        change(given, "workers", "2")


def test_the_command_shows_changes_and_goes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def asked(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["settings", *arguments, "--home", str(tmp_path)])
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    code, out, err = asked("on_battery", "yes", "--json")
    assert (code, json.loads(out)["settings"][0]["value"]) == (0, True)
    assert err == "on_battery is on from now on\n"
    assert "on_battery" in asked()[1]
    assert asked("workers", "99")[0] == 2
    assert asked("--undo")[2] == "on_battery back to off\n"
    assert asked("nothing")[0] == 2


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "none"),
        (None, "none"),
        ("", "none"),
        (True, "on"),
        (False, "off"),
        (["22:00-07:00"], "22:00-07:00"),
        (50, "50"),
    ],
)
def test_a_value_is_shown_as_a_person_reads_it(value: object, told: str) -> None:
    assert in_words(value) == told
