"""What do attackers get, and what does it cost them? Every attack on a swarm of real nodes, in one table.

    .venv/bin/python scripts/adversaries.py [--only NAME ...] [--json] [--against CHECKOUT] [--node COMMAND]

Honest nodes are processes of their own, with the program's network and ledger on loopback; the attackers are here. For
every attack the table says what honest nodes had of it, which goals there are, what it cost the attacker, and whether
the goals were reached; the exit status is 1 where one was not. docs/attacks.md says what each attack does.

--against puts another checkout of this project to the same attacks and shows it beside this one. --node attacks another
program, which has to understand the lines that are listed in scripts/attacks/honest.py.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import trio
from attacks.attack import Attack, Outcome
from attacks.floods import FLOODS
from attacks.links import LINKS
from attacks.scene import Scene, counted_bytes
from attacks.streams import STREAMS
from attacks.verdicts import VERDICTS

REPOSITORY = Path(__file__).resolve().parent.parent
ATTACKS: Sequence[Attack] = (*FLOODS, *STREAMS, *LINKS, *VERDICTS)
ATTACK_SECONDS = 300.0  # after which it is ended, and all that it was to show counts as missed


async def attacked(attack: Attack, checkout: Path, command: Sequence[str]) -> Outcome:
    """Play one attack on fresh nodes."""
    figures: dict[str, float | None] = {"newcomer": None}
    with tempfile.TemporaryDirectory(prefix="adversaries-") as name:
        async with trio.open_nursery() as nursery:
            scene = Scene(Path(name), checkout, nursery, command, attack.blob_mib)
            try:
                async with counted_bytes(scene):
                    if attack.nodes:
                        await scene.start(attack.newcomers)
                    scene.begin()
                    with trio.move_on_after(ATTACK_SECONDS):
                        figures = dict(await attack.play(scene))
            except* Exception:  # a node that does not answer, or a fault of an attack: what it was to show is missed
                traceback.print_exc()
            finally:
                with trio.CancelScope(shield=True):
                    await scene.stop()
                nursery.cancel_scope.cancel()
    return Outcome(attack, figures, scene.keys, scene.bytes_sent, scene.attacker_cpu_seconds)


def row(outcome: Outcome, before: Outcome | None) -> str:
    attack = outcome.attack
    spent = f", {size(outcome.bytes_sent)}, {outcome.cpu_seconds:.1f} s" if attack.nodes else ""
    cells = [
        f"**{attack.name}**: {attack.what}",
        *([shown(before)] if before is not None else []),
        shown(outcome),
        f"{outcome.keys:,} keys{spent}",
        "missed: " + ", ".join(outcome.missed) if outcome.missed else "reached",
    ]
    return "| " + " | ".join(cells) + " |"


def shown(outcome: Outcome) -> str:
    parts = []
    for key, value in outcome.figures.items():
        text = outcome.attack.measure(key).shown(value)
        parts.append(f"**{text}**" if key in outcome.missed else text)
    return "; ".join(parts)


def size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def as_data(outcome: Outcome) -> dict[str, Any]:
    attack = outcome.attack
    return {
        "attack": attack.name,
        "what": attack.what,
        "figures": dict(outcome.figures),
        "goals": {key: attack.measure(key).most for key in outcome.figures},
        "missed": outcome.missed,
        "attacker": {
            "keys": outcome.keys,
            "bytes": outcome.bytes_sent,
            "cpu_seconds": round(outcome.cpu_seconds, 2),
        },
    }


def chosen(names: Sequence[str]) -> list[Attack]:
    """The attacks with these names; all where there are none. Raises SystemExit for a name that there is not."""
    known = {attack.name: attack for attack in ATTACKS}
    for name in names:
        if name not in known:
            raise SystemExit(f"there is no attack {name!r}; there are: {', '.join(known)}")
    return [known[name] for name in names] or list(ATTACKS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    parser.add_argument("--node", default="", metavar="COMMAND")
    options = parser.parse_args()
    attacks = chosen(options.only)
    command = shlex.split(options.node)
    if not options.json:
        between = ["before"] if options.against else []
        print("| " + " | ".join(["attack", *between, "honest nodes", "attacker", "goals"]) + " |")
        print("|" + "---|" * (4 + len(between)))
    missed, found = False, []
    for attack in attacks:
        before = trio.run(attacked, attack, options.against.resolve(), []) if options.against else None
        outcome = trio.run(attacked, attack, REPOSITORY, command)
        missed |= bool(outcome.missed)
        if options.json:
            found.append(as_data(outcome) | ({"before": as_data(before)} if before is not None else {}))
        else:
            print(row(outcome, before), flush=True)
    if options.json:
        print(json.dumps(found, indent=2))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
