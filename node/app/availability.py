"""Whether this machine may be used for research now: a person's pause, battery, hours, temperature, user, load, GPUs.

It reads the machine, the settings and the home, and gives the reason against working in words. It stops nothing itself.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass, field
from datetime import datetime

import psutil

from node.app.gpu_manners import GpuManners
from node.execution.sandbox.tree import Meter
from node.platform.config import Config
from node.platform.environment import child_environment
from node.platform.home import CLOCK_STEP_SECONDS, Home

OTHERS_QUIET_SECONDS = 10.0  # how long others must leave the processor alone before work goes on
WINDOW_SECONDS = 3.0  # over which their use of the processor is averaged
LOGIND_SECONDS = 2.0  # for loginctl to answer
LOGIND_EVERY_SECONDS = 10.0  # between two questions: each starts a process


@dataclass
class Availability:
    """Checks this machine whenever it is asked.

    That takes milliseconds, or seconds where logind is slow to answer, so call it in a thread, one call at a time.
    """

    config: Config
    home: Home
    gpus: GpuManners | None = None  # where runs use GPUs
    _meter: Meter = field(default_factory=lambda: Meter(os.getpid()))
    _samples: list[tuple[float, float, float]] = field(default_factory=list)  # time, all and own CPU seconds
    _busy_until: float = 0.0
    _session_idle: tuple[float, float] = (0.0, float("inf"))  # when asked, and seconds idle then

    def reason_not_to_work(self) -> str | None:
        """Why nothing should be run now, in words that follow "paused: "; None when nothing is against it."""
        checks = (self._paused, self._battery, self._out_of_hours, self._too_hot, self._user, self._others, self._gpus)
        return next((reason for check in checks if (reason := check()) is not None), None)

    def _paused(self) -> str | None:
        until = self.home.paused_until()
        if until is None:
            return None
        if until == float("inf"):
            return "by `autoresearch-node pause` (`resume` ends it)"
        ends = datetime.fromtimestamp(until)
        form = "%H:%M:%S" if ends.date() == datetime.now().date() else "%Y-%m-%d %H:%M"
        return f"until {ends:{form}} by `autoresearch-node pause` (`resume` ends it)"

    def _battery(self) -> str | None:
        battery = psutil.sensors_battery()  # None on a machine without one
        if battery is not None and battery.power_plugged is False and not self.config.on_battery:
            return "this machine is on battery (on_battery in the settings changes that)"
        return None

    def _out_of_hours(self) -> str | None:
        now = datetime.now()
        minute = 60 * now.hour + now.minute
        for begin, end in self.config.hours:
            if begin <= minute < end or (end <= begin and (minute >= begin or minute < end)):
                return None
        return "outside of the hours in the settings (hours)" if self.config.hours else None

    def _too_hot(self) -> str | None:
        if not self.config.max_celsius:
            return None
        readings = [sensor.current for group in psutil.sensors_temperatures().values() for sensor in group]
        hottest = max(readings, default=0.0)
        return f"{hottest:.0f} °C, more than max_celsius in the settings" if hottest > self.config.max_celsius else None

    def _user(self) -> str | None:
        if not self.config.user_idle_minutes:
            return None
        idle = min(_terminals_idle_seconds(), self._session_idle_seconds())
        if idle < 60 * self.config.user_idle_minutes:
            return f"this machine was used {idle:.0f} s ago (user_idle_minutes in the settings)"
        return None

    def _session_idle_seconds(self) -> float:
        """How long graphical sessions have been idle, as the desktop reports it to logind."""
        asked, idle = self._session_idle
        now = time.monotonic()
        if not asked or now - asked > LOGIND_EVERY_SECONDS:
            asked, idle = now, _logind_idle_seconds()
            self._session_idle = (asked, idle)
        return idle + (now - asked)

    def _others(self) -> str | None:
        """Other programs' share of all cores over the last seconds, against the limit.

        Once over it, the reason holds for OTHERS_QUIET_SECONDS, so that work does not start and stop every second.
        Example, on 2 cores: within 3 s, 4.5 CPU seconds were used, of which 2.4 by this node and its runs. Others took
        2.1 of 6 possible: 35 %.
        """
        limit = self.config.others_cpu_percent
        if limit >= 100:
            return None
        now, times = time.monotonic(), psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        self._samples.append((now, busy, self._meter.read().cpu_seconds))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_SECONDS:
            self._samples.pop(0)
        began, busy_then, own_then = self._samples[0]
        if now - began < WINDOW_SECONDS / 2:
            return self._still_busy(now)
        others = (busy - busy_then) - (self._samples[-1][2] - own_then)
        percent = 100 * others / (now - began) / (psutil.cpu_count() or 1)
        if percent > limit:
            self._busy_until = now + OTHERS_QUIET_SECONDS
        return self._still_busy(now)

    def _gpus(self) -> str | None:
        return self.gpus.reason_not_to_work() if self.gpus is not None else None

    def _still_busy(self, now: float) -> str | None:
        return (
            "other programs need the processor (others_cpu_percent in the settings)" if now < self._busy_until else None
        )


def _terminals_idle_seconds() -> float:
    """Since the last key on any terminal of a user who is logged in."""
    used = []
    for user in psutil.users():
        try:
            used.append(os.stat(f"/dev/{user.terminal}").st_atime)
        except OSError:
            continue
    now = time.time()
    # a time to come is of before the clock was set back, and gone with the next key
    return now - max((at for at in used if at <= now + CLOCK_STEP_SECONDS), default=0.0)


def _logind_idle_seconds() -> float:
    """Seconds since logind knows that the sessions here are idle; 0 while one is in use, infinity without logind."""
    query = ["loginctl", "show-session", "auto", "--property=IdleHint,IdleSinceHint,Type"]
    try:
        answer = subprocess.run(
            query, capture_output=True, text=True, timeout=LOGIND_SECONDS, env=child_environment(), check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return float("inf")
    found = dict(line.split("=", 1) for line in answer.stdout.splitlines() if "=" in line)  # in logind's own order
    since = found.get("IdleSinceHint", "")
    if answer.returncode != 0 or found.get("Type") not in ("x11", "wayland", "mir") or not since.isdecimal():
        return float("inf")
    if found.get("IdleHint") != "yes":
        return 0.0
    idle = time.time() - int(since) / 1e6
    return idle if idle > 0 else float("inf")  # idle since a time to come: the clock was set back meanwhile
