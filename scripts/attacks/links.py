"""Attacks on who stays connected, and on what is believed about addresses: those of scripts/adversaries_net.py.

That script puts nodes and attackers at public addresses, in a network namespace of its own; here each of its attacks is
run as it is, with the checkout that is attacked on its path, and its figures are set beside the others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from adversaries_net import ATTACKING_KEYS, HONEST

from attacks.attack import Attack, Figures
from attacks.scene import Scene

SCRIPT = Path(__file__).resolve().parent.parent / "adversaries_net.py"
SECONDS = 30.0
LIMIT_SECONDS = 200.0


async def _played(scene: Scene, name: str) -> dict[str, Any]:
    """What the script says of one of its attacks; nothing where it failed."""
    command = [sys.executable, str(SCRIPT), "--only", name, "--seconds", str(SECONDS), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(scene.checkout)}
    with trio.move_on_after(LIMIT_SECONDS):
        done = await trio.run_process(
            command, env=environment, capture_stdout=True, stderr=subprocess.DEVNULL, check=False
        )
        if done.returncode == 0:
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return found
    return {}


def attack(name: str, what: str, figures: Callable[[dict[str, Any]], Figures], keys: int) -> Attack:
    async def play(scene: Scene) -> Figures:
        found = await _played(scene, name)
        scene.keys = found.get("sent", keys)
        return figures(found) if found else {"links_lost": None}

    return Attack(name, what, play, nodes=False)


def _links_lost(found: dict[str, Any]) -> Figures:
    return {"links_lost": found.get("honest_before", len(HONEST)) - found["honest_links"]}


def _third_parties(found: dict[str, Any]) -> Figures:
    return {"visits": found["third_party_connections"], "forgotten": found["honest_forgotten"]}


LINKS = (
    attack(
        "eclipse outgoing",
        f"{ATTACKING_KEYS} keys of one address, at a node that dialled its peers",
        _links_lost,
        ATTACKING_KEYS,
    ),
    attack(
        "eclipse incoming",
        f"{ATTACKING_KEYS} keys of one address, at a node that was dialled",
        _links_lost,
        ATTACKING_KEYS,
    ),
    attack(
        "eclipse restart",
        f"an address book full of {ATTACKING_KEYS} keys of one address, and a start",
        _links_lost,
        ATTACKING_KEYS,
    ),
    attack("presences", "padded presences of fresh keys, which name a third party's address", _third_parties, 0),
)
