"""What does a hostile program reach that has been given a GPU? Every attempt, in every tier of this machine.

    .venv/bin/python scripts/gpu_attacks.py GIVEN OTHER

GIVEN is the GPU's device file, OTHER one that it must not reach. Prints JSON: by tier, by attempt, "done" or what
stopped it; without those that are to succeed, or are known to (docs/security.md says how far). The same attempts on a
stand-in for a GPU are in scripts/attack_table.py.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.execution.sandbox.layers import Layers, probe
from scripts.attack_table import GPU_RIGHTS, KNOWN, OUTSIDE, RIGHTS
from tests.node.execution.sandbox.gpu_stand_in import StandIn
from tests.node.execution.sandbox.raid import raid

TIERS = ("bwrap", "unshare", "inproc")
EXPECTED = {*RIGHTS, *GPU_RIGHTS, *OUTSIDE, *(name.removeprefix("with a GPU: ") for name in KNOWN)}


def only(layers: Layers, name: str) -> Layers:
    """The same machine without the tiers above this one."""
    stronger = TIERS[: TIERS.index(name)]
    return dataclasses.replace(layers, **dict.fromkeys(stronger, False))  # type: ignore[arg-type]


def main() -> None:
    devices, layers = StandIn(*map(Path, sys.argv[1:3])), probe()
    found = {}
    for name in TIERS:
        if getattr(layers, name):
            with tempfile.TemporaryDirectory(prefix="gpu-attacks-") as folder:
                results = raid(only(layers, name), Path(folder), gpu=devices).results
            found[name] = {attack: came for attack, came in results.items() if attack not in EXPECTED}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
