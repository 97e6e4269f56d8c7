"""Liars: what keys that nobody knows, and keys that first behaved, get honest nodes to believe, and what it costs them.

Swarms of simulate_liars.py, on the node's own rules and with records in the real form; only training is random numbers.
Twelve honest nodes work on 26 claims, on the last six of which the liars do what hurts most. Not to be believed is a
verdict that is wrong, held by an honest node in the end; wasted are runs of honest nodes on what liars wrote.
"""

from __future__ import annotations

import statistics

import simulate_liars
import trio

from attacks.attack import Attack, Figures
from attacks.scene import Scene

SWARMS = 3  # of each kind


def _played(name: str, scene: Scene) -> Figures:
    strategy = next(each for each in simulate_liars.STRATEGIES if each.name == name)
    outcomes = []
    for number in range(SWARMS):
        swarm = simulate_liars.Swarm(number, strategy)
        swarm.run()
        scene.keys = len(swarm.lying)
        outcomes.append(simulate_liars.outcome_of(swarm))
    if not (scene.checkout / "protocol" / "weights.py").exists():  # every key's reports counted alike
        wrong = sum(one.alike_wrong for one in outcomes) / sum(one.claims for one in outcomes)
        return {"wrong": 100 * wrong}
    wrong = sum(one.wrong for one in outcomes) / sum(one.asked for one in outcomes)
    return {"wrong": 100 * wrong, "wasted": 100 * statistics.fmean(one.wasted for one in outcomes)}


def attack(name: str, strategy: str, what: str, most_wrong: float = 0.0) -> Attack:
    async def play(scene: Scene) -> Figures:
        return await trio.to_thread.run_sync(_played, strategy, scene)

    return Attack(name, what, play, nodes=False, limits={"wrong": most_wrong})


# Who behaved through twenty claims has earned its weight by runs of its own; of these liars some are believed once.
VERDICTS = (
    attack("fresh keys", "3 fresh keys", "3 fresh keys report what suits them, and find each other right"),
    attack(
        "Sybils", "10 fresh keys a node, each with a claim", "ten keys for every honest node, which claim and report"
    ),
    attack("sleepers", "half, who first behaved", "half of all keys, which first behaved", 1.0),
)
