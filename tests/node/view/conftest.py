"""Homes to show: a small one with a claim, a replication and an idea, one with ten thousand records, and one whose
command prints what it returns."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from node.ledger.pool import Bringer
from node.ledger.settings import Description
from node.ledger.store import Ledger
from node.proposers.beliefs import Arm, Machine
from node.proposers.strategy_snapshot import StrategySnapshot, pack_snapshot
from protocol.metric import Direction, Metric, Scale
from protocol.records import Body, Experiment, Hypothesis, Pair, Record, Run
from tests.node.records_for_tests import OBJECTIVE, Author, experiment, replication, source

MANY = 10_000
NAMED = Bringer("peer", chosen=True)  # a person named it: what strangers bring has less room
RETURN = Metric(Direction.HIGHER, Scale.LINEAR, 2.5, 0.01)  # the smallest difference worth telling is 0.005
ABOUT = Description("cartpole", "return", "points", RETURN, "self-measured")
VALUES = (-0.2, 0.0, 0.15)  # of the baseline and of what was kept, one after the other
HOSTILE = "<img src=x onerror=window.taken=1><script>window.taken=1</script>"


class Swarm:
    """A home and the authors whose records are in its ledger."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.authors = {name: Author(name) for name in ("alice", "bob", "carol", "dave", "erin")}
        home.mkdir(exist_ok=True)
        self.ledger = Ledger.open(home / "ledger.sqlite", OBJECTIVE)
        self.parent = self.ledger.put_blob(b"LR = 1e-3\n")
        self.child = self.ledger.put_blob(b"LR = 3e-3  # </pre><script>window.taken=1</script>\n")
        names = {"objective": OBJECTIVE, "objective name": b"tinylm", "metric": b"val_bpb", "baseline": self.parent}
        for key, value in names.items():
            self.ledger.set_meta(key, value)
        self.ledger.set_meta("author", self.authors["alice"].identity.author)

    def write(self, author: str, body: Body) -> Record:
        record = self.authors[author].write(body)
        self.ledger.add(record, NAMED)
        return record


@pytest.fixture
def swarm(tmp_path: Path) -> Swarm:
    """Alice claimed something, bob adopted it and offered an idea, and one claim has a hostile title."""
    made = Swarm(tmp_path / "home")
    claim = made.write("alice", experiment(parent=made.parent, child=made.child))
    made.write("bob", replication(claim, adopted=made.child, by=made.authors["bob"].identity))
    made.write("bob", experiment(HOSTILE, parent=made.parent, child=made.child))
    made.write("bob", Hypothesis("Try a longer context", "positions", "", None, None))
    return made


@pytest.fixture(scope="session")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Swarm:
    """Ten thousand records of two authors, one in fifty of them kept."""
    made = Swarm(tmp_path_factory.mktemp("crowded") / "home")
    made.ledger._db.execute("BEGIN")  # one transaction, for speed only
    for number in range(MANY):
        kept = number % 50 == 0
        author = ("alice", "bob")[number % 2]
        decision = "improved" if kept else "no_gain"
        made.write(author, experiment(f"Idea {number}", child=source(f"{number}"), decision=decision))
    made.ledger._db.execute("COMMIT")
    assert made.ledger.count() == MANY
    return made


def scored(title: str, parent: float, child: float, decision: str = "improved", of: str = "") -> Experiment:
    """An experiment whose command printed these values."""
    pairs = tuple(
        Pair(seed, *(Run(value, 9.5, 0, (), None) for value in (parent, child))) for seed in range(2 if decision else 0)
    )
    effect = replace(experiment().effect, mean=RETURN.difference(parent, child), se=0.0016)
    parent_source = experiment(of).child if of else experiment().parent
    return replace(experiment(title, parent_source, decision=decision, effect=effect), pairs=pairs, metric=RETURN)


@pytest.fixture
def returns(tmp_path: Path) -> Path:
    """Alice got from -0.2 over 0 to 0.15, and one idea was worse."""
    ledger = Ledger.open(tmp_path / "home" / "ledger.sqlite", OBJECTIVE, metric=RETURN)
    ledger.settings.choose(replace(ABOUT, baseline=experiment().parent))
    alice = Author("alice")
    ledger.settings.author = alice.identity.author
    alice.write(scored("First", VALUES[0], VALUES[1]))
    alice.write(scored("Worse", VALUES[1], -0.4, "no_gain", of="First"))
    alice.write(scored("Second", VALUES[1], VALUES[2], of="First"))
    for record in alice.records:
        ledger.add(record, "peer")
    machine = Machine("cpu", 10.0, 0.001, 6, {})
    ledger.settings.strategy_snapshot = pack_snapshot(
        StrategySnapshot(machine, {}, (Arm("batch", "catalogue"),), frozenset())
    )
    ledger.close()
    return tmp_path / "home"
