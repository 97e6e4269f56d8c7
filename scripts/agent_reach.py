"""Try from inside an agent's sandbox to get elsewhere than to its service, and print the table of docs/security.md.

    .venv/bin/python scripts/agent_reach.py

The tries are those of tests/node/proposers/agent_tries.py; "OPEN" means that one succeeded. Exits with 1 then. It needs
bubblewrap, and no network: the service is one on loopback.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import trio

from node.execution.sandbox.layers import probe, tier
from tests.node.proposers.known_agents import KEY, shown, tried
from tests.node.proposers.test_agent import BRIEF, context


async def main() -> int:
    layers = probe()
    if tier(layers) != "bwrap":
        print("bubblewrap with namespaces of its own is not here: `autoresearch-node doctor` says what is missing")
        return 2
    os.environ["ANTHROPIC_API_KEY"] = KEY
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PATH"] = f"{folder}:/usr/bin:/bin"
        found, api = await tried(Path(folder), layers, BRIEF, context())
    print("| try | what came of it |\n|---|---|")
    print("\n".join(shown(found)))
    print(f"\nThe service was asked {len(api.asked)} time: for {api.asked[0][1]}, which it answered with a redirect.")
    return 1 if any(came.startswith("OPEN") for came in found.values()) else 0


if __name__ == "__main__":
    sys.exit(trio.run(main))
