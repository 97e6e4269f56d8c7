"""A discovery of one objective of a home is tried in another by the node's own research, and signed with its origin."""

from __future__ import annotations

from pathlib import Path

from node.ledger.projections.origins import came_from
from node.ledger.settings import Description
from node.ledger.store import Ledger
from node.platform.config import load_config
from node.proposers.configured import configured
from node.proposers.strategy import Strategy
from node.trials.cached_runner import CachedRunner
from protocol.records import Effect, Experiment, Origin
from tests.node.conftest import NOTHING_RUNS, ignore, made_before, outcome
from tests.node.records_for_tests import Author, experiment, source
from tests.node.research.test_loop import unmeasured_research

THERE = source("another objective")


async def test_it_is_tried_here_and_what_came_of_it_is_counted(cached_runner: CachedRunner, tmp_path: Path) -> None:
    objective, here = cached_runner.objective, cached_runner.ledger
    theirs = objective.source.replace("DEPTH = 2", "DEPTH = 7").replace("HEADS = 4", "HEADS = 9")
    there = Ledger.open(here.path, THERE)
    there.settings.choose(Description("another", embedded=True, joined=1.0))
    edits = [there.put_blob(text.encode()) for text in (theirs, theirs.replace("LR = 1e-3", "LR = 4e-3"))]
    me = Author("alice", objective=THERE)
    claim = me.write(experiment("Four times the rate", *edits, effect=Effect(-0.05, 0.01, 2), category="learning rate"))
    there.add(claim, "own")
    there.close()

    research = unmeasured_research(cached_runner, tmp_path)
    config = load_config(None, {"home": str(tmp_path)})
    proposers = configured(config, cached_runner, NOTHING_RUNS, research.identity.author, ignore)
    research.strategy = Strategy([one for one in proposers if one.name == "elsewhere"], lambda _: {}, ignore)
    research.candidates.strategy = research.strategy
    child = objective.source.replace("LR = 1e-3", "LR = 4e-3")
    seed = cached_runner.seeds.of_screening(objective.source_id)
    for text, value in ((objective.source, 3.5), (child, 3.6)):
        made_before(cached_runner, text, seed, outcome(value))
    record = await research.turn()
    assert record is not None
    assert isinstance(record.body, Experiment)
    assert (record.body.title, record.body.proposer) == ("Four times the rate", "elsewhere")
    assert record.body.origin == Origin(THERE, claim.id)
    together, rate = came_from(here.all_records())
    assert (together.tried, together.gained, rate.category) == (1, 0, "learning rate")
    assert await research.turn() is None, "it is tried once"
