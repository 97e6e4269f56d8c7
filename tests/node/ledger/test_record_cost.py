"""What a record is counted for is at least what it takes, also where it takes many times its text."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import msgspec
import pytest

from node.ledger.record_cost import cost_of
from protocol.records import Body, Record, Unknown, open_record
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


def size_of(value: object, seen: set[int]) -> int:
    """Bytes of memory that a value takes with all that it holds, each object once."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    parts: list[object] = []
    if isinstance(value, Record):
        parts = [value.body, value.payload]
    elif isinstance(value, Unknown):
        parts = [value.body]
    elif isinstance(value, msgspec.Struct):
        parts = [getattr(value, name) for name in value.__struct_fields__]
    elif isinstance(value, Mapping):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple):
        parts = list(value)
    return sys.getsizeof(value) + sum(size_of(part, seen) for part in parts)


@pytest.mark.parametrize("kind", BODIES)
def test_it_is_counted_for_no_less_than_it_takes(kind: str) -> None:
    record = open_record(Author("ann").write(BODIES[kind]).wire())
    taken = size_of(record, set())
    assert taken <= cost_of(record) <= 3 * taken + 2000
