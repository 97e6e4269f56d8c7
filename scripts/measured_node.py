"""The node as scripts/real_swarm.py starts it to measure what a swarm is worth.

    .venv/bin/python scripts/measured_node.py [--champions] join ...

With --champions it learns of peers' discoveries and nothing else: what others tried in vain does not count, and leases
are ignored.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.cli.main import main
from node.ledger.leases import Leases
from node.proposers.proposer import Context
from node.research.loop import Research
from protocol.records import Experiment

_context_of_everything = Research.context


async def champions(research: Research, parent: bytes) -> Context:
    """The context that the node would have if peers sent their discoveries only."""
    context = await _context_of_everything(research, parent)
    me = research.identity.author
    records = research.cached_runner.ledger.all_records()
    experiments = [(record, record.body) for record in records if isinstance(record.body, Experiment)]
    seen = [(record, body) for record, body in experiments if record.author == me or body.decision == "improved"]
    unseen = {body.fingerprint for _, body in experiments if body.parent == parent}
    unseen -= {body.fingerprint for _, body in seen if body.parent == parent}
    results = research.contexts.results([record for record, _ in seen])
    return replace(context, tried=context.tried - unseen, results=results)


if __name__ == "__main__":
    if "--champions" in sys.argv:
        sys.argv.remove("--champions")
        Research.context = champions  # type: ignore[method-assign]
        Leases.taken = lambda self, parent, now: frozenset()  # type: ignore[method-assign,assignment]
    main()
