"""Homes to show: a small one with a claim, a replication and an idea, and one with ten thousand records."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.ledger.store import Ledger
from protocol.records import Body, Hypothesis, Record
from tests.node.records_for_tests import OBJECTIVE, Author, experiment, replication, source

MANY = 10_000
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
        self.ledger.add(record, "peer")
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
    return made
