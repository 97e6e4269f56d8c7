"""What a record costs to keep, in bytes of memory: by its text, and by the values that it is taken apart into.

Text alone says too little: a list of empty lists takes one byte each on the wire and sixty in memory. It knows records,
and what Python's values take; not whose they are, nor where they are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from protocol.records import Audit, Body, Experiment, Pair, Record, Replication, Run, Transfer, Unknown

RECORD_COST = 1600  # with its place in a feed, and a feed of its own: 1,700 in all for a record of 221 bytes
TEXT_COST = 2  # for one byte: as it came, and taken apart
RUN_COST = 200
CHECKPOINT_COST = 112  # a pair of numbers, and a place for it
VALUE_COST = 72  # of a kind that is not known: an empty list and a place for it


def cost_of(record: Record) -> int:
    """Bytes of memory: 5,200 for an experiment of 830 bytes with four runs of three scores, which takes 4,500."""
    return text_cost(len(record.payload)) + _taken_apart(record.body)


def text_cost(text_bytes: int) -> int:
    """The same of something that is only kept as text, as the proof of a fork is."""
    return TEXT_COST * text_bytes + RECORD_COST


def _taken_apart(body: Body) -> int:
    match body:
        case Unknown(body=values):
            return VALUE_COST * _count(values)
        case Experiment(pairs=pairs, screening=screening):
            return _of_pairs(pairs) + (_of_pairs([screening]) if screening is not None else 0)
        case Replication(pairs=pairs) | Transfer(pairs=pairs):
            return _of_pairs(pairs)
        case Audit(pair=pair):
            return _of_pairs([pair])
    return 0


def _of_pairs(pairs: Iterable[Pair]) -> int:
    return sum(_of_run(run) for pair in pairs for run in (pair.parent, pair.child))


def _of_run(run: Run) -> int:
    return RUN_COST + CHECKPOINT_COST * len(run.checkpoints)


def _count(value: Any) -> int:
    """How many values a value holds, itself included. What came through the door is nested only a few deep."""
    if isinstance(value, Mapping):
        return 1 + sum(1 + _count(each) for each in value.values())
    if isinstance(value, list | tuple):
        return 1 + sum(map(_count, value))
    return 1
