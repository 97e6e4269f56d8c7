"""What trips whoever runs other people's commands, run through the real runner: a table of input and what was shown.

    .venv/bin/python scripts/command_traps.py [TIER]

TIER is bwrap, unshare or inproc; without it, the strongest that works here. The last column is the value of the run, or
its failure with the sentence that a person sees. Exits with status 1 where one is not as expected. Takes half a minute.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.execution.sandbox.layers import tier
from tests.node.execution.command.folders import command_objective, run
from tests.node.execution.command.traps import TRAPS, Trap
from tests.node.execution.sandbox.tiers import TIERS, lack, layers_of

WIDTH = 50


async def shown(trap: Trap, wanted_tier: str) -> tuple[str, bool]:
    """What a person sees of the trap's run, and whether it is what is expected."""
    with tempfile.TemporaryDirectory() as folder:
        objective = command_objective(
            Path(folder, "folder"), {"bench.sh": trap.shell, **trap.files}, command=trap.command, rest=trap.rest,
            wall_seconds=trap.seconds, memory_mb=trap.memory_mb,
        )  # fmt: skip
        begun = time.monotonic()
        outcome = await run(objective, layers_of(wanted_tier))
        seconds = time.monotonic() - begun
    expected = (outcome.value, outcome.failure) == (trap.value, trap.failure) and trap.says in outcome.log_tail
    last = outcome.log_tail.splitlines()[-1:] or [""]
    told = f"{outcome.value:g}" if outcome.failure is None else f"{outcome.failure}: {last[0]}"
    return f"{told} ({seconds:.1f} s)", expected


def main() -> int:
    wanted = sys.argv[1] if len(sys.argv) > 1 else tier(layers_of(TIERS[0]))
    if wanted not in TIERS or (reason := lack(wanted)) is not None:
        print(reason if wanted in TIERS else f"{wanted} is no tier that runs commands")
        return 2
    print(f"tier: {wanted}\n\n{'input':{WIDTH}} | what was shown\n{'-' * WIDTH} | {'-' * WIDTH}")
    wrong = 0
    for trap in TRAPS:
        told, expected = trio.run(shown, trap, wanted)
        wrong += not expected
        print(f"{trap.name:{WIDTH}} | {told}{'' if expected else '   <-- not as expected'}", flush=True)
    print(f"\n{len(TRAPS) - wrong} of {len(TRAPS)} as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
