"""When the machine may be used: every reason against it is found, put into words, and ends."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from node.app import availability as idle
from node.app.availability import Availability
from node.platform.config import load_config
from node.platform.home import Home


def availability(tmp_path: Path, toml: str = "") -> Availability:
    """What a node with these settings would ask, on a machine where nothing else is against working."""
    (tmp_path / "swarm.toml").write_text("[manners]\n" + toml)
    home = Home(tmp_path / "home")
    home.make()
    return Availability(load_config(tmp_path / "swarm.toml", {"home": str(home.root)}), home)


@pytest.fixture(autouse=True)
def _plugged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)


def test_with_the_default_settings_nothing_is_against_working(tmp_path: Path) -> None:
    assert availability(tmp_path).reason_not_to_work() is None


def test_a_pause_holds_until_its_time_or_until_resume(tmp_path: Path) -> None:
    asked = availability(tmp_path)
    asked.home.pause(time.time() + 60)
    assert (asked.reason_not_to_work() or "").startswith("until ")
    asked.home.pause(time.time() - 1)
    assert asked.reason_not_to_work() is None
    asked.home.pause(float("inf"))
    assert (asked.reason_not_to_work() or "").startswith("by `autoresearch-node pause`")
    assert asked.home.resume()
    assert not asked.home.resume()
    assert asked.reason_not_to_work() is None


@pytest.mark.parametrize(
    ("plugged", "on_battery", "works"),
    [(None, False, True), (True, False, True), (False, False, False), (False, True, True)],
)
def test_on_battery_no_work_is_done_unless_allowed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plugged: bool | None, on_battery: bool, works: bool
) -> None:
    battery = None if plugged is None else SimpleNamespace(power_plugged=plugged)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    asked = availability(tmp_path, f"on_battery = {str(on_battery).lower()}")
    assert (asked.reason_not_to_work() is None) is works


def test_work_is_done_within_the_hours_only_across_midnight_too(tmp_path: Path) -> None:
    def span(begin_hours: float, end_hours: float) -> str:
        ends = [datetime.now() + timedelta(hours=hours) for hours in (begin_hours, end_hours)]
        return f'hours = ["{ends[0]:%H:%M}-{ends[1]:%H:%M}"]'

    assert availability(tmp_path, span(-2, 2)).reason_not_to_work() is None
    assert availability(tmp_path, span(-13, 10)).reason_not_to_work() is None
    assert "hours" in (availability(tmp_path, span(2, 4)).reason_not_to_work() or "")


def test_a_key_on_a_terminal_means_that_the_user_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = availability(tmp_path, "user_idle_minutes = 5")
    monkeypatch.setattr(idle, "_logind_idle_seconds", lambda: float("inf"))
    monkeypatch.setattr(psutil, "users", lambda: [SimpleNamespace(terminal="null")])  # any device with a time of use
    ago, real = [10.0], os.stat

    def stat(path: Any, **more: Any) -> Any:
        return SimpleNamespace(st_atime=time.time() - ago[0]) if str(path) == "/dev/null" else real(path, **more)

    monkeypatch.setattr(idle.os, "stat", stat)
    assert "was used 10 s ago" in (asked.reason_not_to_work() or "")
    ago[0] = 600.0
    assert asked.reason_not_to_work() is None


def test_a_desktop_in_use_means_that_the_user_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = availability(tmp_path, "user_idle_minutes = 5")
    monkeypatch.setattr(psutil, "users", list)
    monkeypatch.setattr(idle, "_logind_idle_seconds", lambda: 0.0)
    assert "was used" in (asked.reason_not_to_work() or "")


def test_heat_stops_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = availability(tmp_path, "max_celsius = 80")
    sensors = {"cpu": [SimpleNamespace(current=50.0), SimpleNamespace(current=91.0)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    assert asked.reason_not_to_work() == "91 °C, more than max_celsius in the settings"


class Clock:
    """The processor's use as the test says, on a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, asked: Availability) -> None:
        self.now, self.busy, self.own = 100.0, 0.0, 0.0
        monkeypatch.setattr(idle.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
        monkeypatch.setattr(psutil, "cpu_times", self.times)
        monkeypatch.setattr(asked._meter, "read", lambda: SimpleNamespace(cpu_seconds=self.own))

    def times(self) -> object:
        class Times(tuple[float, ...]):
            idle, iowait, guest = 50.0, 0.0, 0.0

        return Times((self.busy, 50.0))

    def pass_by(self, seconds: int, others: float, own: float, asked: Availability) -> str | None:
        reason = None
        for _ in range(seconds):
            self.now, self.busy, self.own = self.now + 1, self.busy + others + own, self.own + own
            reason = asked.reason_not_to_work()
        return reason


def test_others_work_stops_ours_within_seconds_and_only_theirs_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = availability(tmp_path, "others_cpu_percent = 30")
    clock = Clock(monkeypatch, asked)
    assert clock.pass_by(10, others=0.2, own=1.8, asked=asked) is None
    assert "other programs" in (clock.pass_by(4, others=1.0, own=1.0, asked=asked) or "")
    assert "other programs" in (clock.pass_by(6, others=0.1, own=0.0, asked=asked) or "")  # may be a breath only
    assert clock.pass_by(10, others=0.1, own=0.0, asked=asked) is None


@pytest.mark.parametrize(
    ("said", "idle_seconds"),
    [
        ("Type=wayland\nIdleHint=no\nIdleSinceHint=0\n", 0.0),
        ("Type=x11\nIdleHint=yes\nIdleSinceHint={since}\n", 90.0),
        ("Type=tty\nIdleHint=no\nIdleSinceHint=0\n", float("inf")),
        ("Type=x11\nIdleHint=no\n", float("inf")),
        ("", float("inf")),
    ],
)
def test_logind_is_understood_in_the_order_in_which_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, idle_seconds: float
) -> None:
    program = tmp_path / "loginctl"
    since = f"{(time.time() - 90) * 1e6:.0f}"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{said.format(since=since)}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert idle._logind_idle_seconds() == pytest.approx(idle_seconds, abs=5)


def test_a_pause_that_a_clock_ahead_was_asked_for_lasts_as_long_as_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, year = time.time, 365 * 86400
    asked = availability(tmp_path)
    monkeypatch.setattr(time, "time", lambda: right() + year)
    asked.home.pause(time.time() + 3600)
    monkeypatch.setattr(time, "time", right)
    until = asked.home.paused_until()
    assert until is not None
    assert until - time.time() == pytest.approx(3600, abs=5)
    monkeypatch.setattr(time, "time", lambda: right() + 3700)  # it does not begin again and again
    assert asked.home.paused_until() is None


def test_a_pause_over_midnight_shows_its_date(tmp_path: Path) -> None:
    asked = availability(tmp_path)
    asked.home.pause(time.time() + 3 * 86400)
    day = datetime.fromtimestamp(time.time() + 3 * 86400)
    assert f"until {day:%Y-%m-%d} " in (asked.reason_not_to_work() or "")


@pytest.mark.parametrize("content", ["", "nan", "1e300", "soon", "inf\n"])
def test_a_pause_that_cannot_be_read_is_one_without_an_end(tmp_path: Path, content: str) -> None:
    asked = availability(tmp_path)
    asked.home.root.mkdir(exist_ok=True)
    (asked.home.root / "pause").write_text(content)
    assert (asked.reason_not_to_work() or "").startswith("by `autoresearch-node pause`")
