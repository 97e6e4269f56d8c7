"""Let every cheat train and be judged for real, and write the results to docs/cheats.md.

    .venv/bin/python scripts/cheat_table.py [--tier bwrap|unshare|inproc] [--write]

Without --tier, behind the strongest tier that works here. The cheats are those of tests/node/execution/cheats.py, on
tinylm with a budget of seconds. An honest run is also compared with the same training and judging in this one process:
the workers must not change the score. Exits with 1 when a cheat gained anything.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import trio
from in_process import Rooms, trained, value

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.execution.runner import Runner
from node.execution.sandbox.layers import Layers
from node.ledger.outcome import Outcome
from node.objective.schema import Objective
from tests.node.execution.cheats import CHEATS, Cheat
from tests.node.execution.sandbox.tiers import TIERS, lack, layers_of
from tests.node.execution.small_objective import small_objective

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENT = REPOSITORY / "docs" / "cheats.md"
SEED = 1
SAME = 1e-6  # bits per byte
SAME_SCORE = 1e-3  # bits per byte: what a model may seem better by, from answers that are noise
MORE_TEXT = 0.9  # of an honest score: a model of a few steps has hardly learnt how often each byte comes
PRICED = 1.3  # times the CPU seconds of an honest run
SAME_COST = 1.25


def silent(*_: object, **__: object) -> None:
    pass


def value_in_process(objective: Objective, steps: tuple[int, ...], folder: Path) -> float:
    """An honest run's value when it is trained and judged without workers, after scoring as many checkpoints.

    It is trained in a fork, because mixing chance into what is seeded would change what the judge draws too.
    """
    if os.fork() == 0:
        import torch

        torch.save(trained(objective, objective.source, SEED, mixed=True).model, folder / "model")
        os._exit(0)
    os.wait()
    import torch

    from node.execution.workers import train as candidate

    candidate.load({objective.editable[0]: objective.source.encode()}, SEED)  # type: ignore[attr-defined]  # makes its classes
    return value(objective, Rooms(torch.load(folder / "model", weights_only=False), steps), SEED)


def result(cheat: Cheat, outcome: Outcome, honest: Outcome) -> tuple[bool, str]:
    """Whether the outcome is the one a cheat must have, and a text that describes it."""
    if outcome.value is None:
        last = (outcome.log_tail.splitlines() or [""])[-1]
        return cheat.verdict == outcome.failure == "invalid", f"{outcome.failure}: {last[:110]}"
    cost = outcome.cpu_seconds / honest.cpu_seconds
    found, deserved = outcome.metrics["bits"], honest.metrics["bits"]  # without the price of a longer source
    words = f"{found:.4f} bpb at CPU × {cost:.2f}, honest {deserved:.4f}"
    if cheat.verdict == "worse":
        return found > deserved - SAME_SCORE, words
    if cheat.verdict == "more text":
        return found > MORE_TEXT * deserved, words
    if cheat.verdict == "priced":
        return cost > PRICED, words
    return cheat.verdict == "nothing" and found == deserved and outcome.tokens == honest.tokens, words


async def play(objective: Objective, layers: Layers, folder: Path) -> tuple[list[str], bool]:
    lines = ["| cheat | must be | result |", "|---|---|---|"]
    good = True
    async with Runner(objective, layers, folder / "weights", silent) as runner:
        honest = await runner.run(objective.source, SEED, silent)
        for cheat in CHEATS:
            outcome = await runner.run(cheat.source, SEED, silent)
            fits, words = result(cheat, outcome, honest)
            good &= fits
            lines.append(f"| {cheat.name} | {cheat.verdict} | {words}{'' if fits else ' **NOT AS IT MUST BE**'} |")
            print(lines[-1], flush=True)
        again = await runner.run(objective.source, SEED, silent)
    assert honest.value is not None
    here = value_in_process(objective, tuple(step for step, _ in honest.checkpoints), folder)
    difference = abs(honest.value - here)
    bits = "the same bits" if again.value == honest.value else "ANOTHER VALUE"
    lines += [
        "",
        f"An honest run: {honest.value:.6f} bpb in the workers, {here:.6f} trained and judged in one process;",
        f"the difference is {difference:.1e}. The honest run again after all cheats: {bits}.",
    ]
    return lines, good and difference <= SAME and again.value == honest.value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/cheats.md")
    parser.add_argument("--tier", choices=TIERS, help="the sandbox to run behind")
    options = parser.parse_args()
    if options.tier and (reason := lack(options.tier)):
        raise SystemExit(reason)
    layers = layers_of(options.tier or TIERS[0])  # of TIERS[0] with no tool hidden: the strongest that works
    with tempfile.TemporaryDirectory(prefix="cheats-") as name:
        objective = small_objective(Path(name))
        lines, good = trio.run(play, objective, layers, Path(name))
    made = (
        "Made by `scripts/cheat_table.py`: each script was trained and judged for real, on tinylm with a budget of "
        f"{objective.budget.tokens:,} tokens.\nA twentieth of the budget makes it quick, and more text then helps more "
        "than it costs: what is priced pays 0.15 · ln(CPU ratio),\nwhich is what CPU time is worth at the full budget."
    )
    head = ["# Cheating the score", "", made, ""]
    if options.write:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text("\n".join([*head, *lines, ""]))
    print("\n".join(lines[-2:]))
    print("no cheat gained anything" if good else "NOT AS IT MUST BE")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
