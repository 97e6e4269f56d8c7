"""What this machine is fit for: which objective it begins with, and at which scale it makes an objective's runs.

An objective for a GPU may have a scale for machines without one. There it is the same objective, in the same swarm; but
its values are of another budget, so they are compared only with those of machines like this.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.objective.schema import Objective
from node.platform import hardware
from node.platform.config import Config

ON_GPU, ON_CPU = "nanolm", "tinylm"


@dataclass(frozen=True)
class AtScale:
    """An objective as this machine runs it. why: in words, where that is another scale than its own."""

    objective: Objective
    why: str = ""


def objective_for_this_machine(config: Config) -> tuple[str, str]:
    """(name, why in words) of the embedded objective that a home begins with where nobody says which."""
    why = why_no_gpu(config)
    if why:
        return ON_CPU, f"no usable GPU is here: {why}"
    return ON_GPU, f"a usable GPU is here: {hardware.measure().gpus[0].name}"


def on_this_machine(objective: Objective, config: Config) -> AtScale:
    """The objective at the scale of what runs have here; unchanged where it has none for that."""
    if objective.device == "cpu":
        return AtScale(objective)
    why = why_no_gpu(config)
    found = objective.on_machine(gpus=not why)
    return AtScale(found, why if found.scale else "")


def why_no_gpu(config: Config) -> str:
    """Why runs use no GPU here; "" where they use one."""
    return "runs use no GPU yet" if hardware.measure().gpus else "there is no GPU"
