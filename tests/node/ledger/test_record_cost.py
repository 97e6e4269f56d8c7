"""What a record is counted for is at least what it takes, also where it takes many times its text."""

from __future__ import annotations

import tracemalloc

import pytest

from node.ledger.record_cost import cost_of
from protocol.records import Body, Unknown, open_record
from tests.node.records_for_tests import Author, experiment, replication

CLAIM = Author("ann").write(experiment("a claim"))
BODIES: dict[str, Body] = {
    "an experiment": experiment("another"),
    "a report": replication(CLAIM),
    "empty lists": Unknown("x", {"x": [[]] * 900}),
    "empty maps": Unknown("x", {"x": {str(n): {} for n in range(400)}}),
    "numbers": Unknown("x", {"x": [n / 7 for n in range(900)]}),
    "bytes": Unknown("x", {"x": bytes(50_000)}),
}


@pytest.mark.parametrize("kind", BODIES)
def test_it_is_counted_for_no_less_than_it_takes(kind: str) -> None:
    author = Author("ann")
    wires = [author.write(BODIES[kind]).wire() for _ in range(20)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    held = [open_record(wire) for wire in wires]
    taken = (tracemalloc.get_traced_memory()[0] - before) / len(held)
    tracemalloc.stop()
    assert taken <= cost_of(held[0]) <= 3 * taken + 2000
