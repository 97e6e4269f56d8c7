"""When this machine may be used for research. It asks the machine and the settings, and decides nothing else."""

from __future__ import annotations

import psutil

from node.config import Config


def reason_not_to_work(config: Config) -> str | None:
    """Why no run should be started now, in words for the log; None when there is nothing against it."""
    battery = psutil.sensors_battery()  # None on a machine without one
    if battery is not None and battery.power_plugged is False and not config.on_battery:
        return "this machine is on battery (on_battery in swarm.toml changes that)"
    return None
