"""What this machine is fit for: which objective it begins with, and at which scale it makes an objective's runs.

An objective for a GPU may have a scale for machines without one. There it is the same objective, in the same swarm; but
its values are of another budget, so they are compared only with those of machines like this.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.objective.limits import host_limits, usable_gpus
from node.objective.schema import Kind, Objective
from node.platform.config import FILE_NAME, Config

ON_GPU, ON_CPU = "nanolm", "tinylm"


@dataclass(frozen=True)
class AtScale:
    """An objective as this machine runs it. why: in words, where that is another scale than its own."""

    objective: Objective
    why: str = ""


def objective_for_this_machine(config: Config) -> tuple[str, str]:
    """(name, why in words) of the embedded objective that a home begins with where nobody says which."""
    gpus, reasons = usable_gpus(Kind.MODEL, host_limits(config))
    if not gpus:
        elsewhere = "; what workers elsewhere have is not known yet" if config.worker_command else ""
        return ON_CPU, f"no usable GPU is here: {'; '.join(reasons)}{elsewhere}"
    return ON_GPU, f"a usable GPU is here: {gpus[0].name}"


def on_this_machine(objective: Objective, config: Config) -> AtScale:
    """The objective at the scale of what runs have here; unchanged where it has none for that."""
    if objective.device == "cpu":
        return AtScale(objective)
    if config.worker_command:  # workers elsewhere have GPUs of their own, which are not known yet
        found = objective.on_machine(gpus=config.gpu is not False)
        return AtScale(found, f"[research] gpu = false in {FILE_NAME}" if found.scale else "")
    gpus, reasons = usable_gpus(objective.kind, host_limits(config))
    found = objective.on_machine(gpus=bool(gpus))
    return AtScale(found, "; ".join(reasons) if found.scale else "")
