"""What an objective needs beside its files: whether it is here, and the one command by which a person makes it.

A command objective may name folders that its runs read (a virtual environment, a cache of data) and the command that
makes them. Runs have no network and may not write there, so a person runs that command, once, before they join. It is
the objective's author who wrote it, it runs as the person and with the network: so it is shown first, and never run
unasked.
"""

from __future__ import annotations

import subprocess

from node.authoring.check_command import lacking
from node.objective.schema import Objective
from node.platform.environment import persons_environment
from node.platform.file_trouble import HomeError


class PrepareError(HomeError):
    """The environment could not be made; the text says what to do."""


def refuse_unprepared(objective: Objective) -> None:
    """Raise PrepareError where something that an objective's runs need is not on this machine."""
    missing = lacking(objective)
    if not missing:
        return
    hint = ""
    if objective.environment is not None and objective.environment.prepare is not None:
        asked = f"`autoresearch-node objective prepare {objective.root}`"
        hint = f" ({asked} shows the command and runs it; then join again)"
    raise PrepareError(f"{objective.name} cannot run here yet: {'; '.join(missing)}{hint}")


def prepare(objective: Objective) -> None:
    """Run the objective's command, as the person who asks, in its folder, with what it prints shown as it comes.

    Raises PrepareError when it fails, or when something is missing all the same.
    """
    assert objective.environment is not None
    assert objective.environment.prepare is not None
    done = subprocess.run(
        ["bash", "-c", objective.environment.prepare], cwd=objective.root, env=persons_environment(), check=False
    )
    if done.returncode != 0:
        raise PrepareError(
            f"`{objective.environment.prepare}` ended with status {done.returncode}; correct what it says above in "
            f"{objective.root}, and ask again"
        )
    refuse_unprepared(objective)
