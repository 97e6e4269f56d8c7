"""Turns in a timed session: each program has one in every round, and one runs at a time. Shapes of answers."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from node.execution.workers.exchange import NodePipe
from node.execution.workers.program_judge import Refused, Turns, refuse_other_shapes

ROUNDS = 20


class Node(NodePipe):
    """Grants every turn at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def read_line(self) -> bytes:
        return b"go\n"

    def send(self, line: str, content: bytes = b"") -> None:
        self.asked.append(line)


def test_each_has_a_turn_in_every_round_in_an_order_that_is_drawn() -> None:
    node, order, at_once = Node(), list[int](), list[int]()
    turns = Turns(2, node, seed=3)

    def ask(program: int, rounds: int) -> None:
        for _ in range(rounds):
            turns.take(program)
            at_once.append(program)
            assert len(at_once) == 1, "two of them run"
            order.append(program)
            at_once.pop()
        turns.leave(program)

    threads = [threading.Thread(target=ask, args=(program, ROUNDS + 3 * program)) for program in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    rounds = [tuple(order[start : start + 2]) for start in range(0, 2 * ROUNDS, 2)]
    assert set(rounds) == {(0, 1), (1, 0)}
    assert order[2 * ROUNDS :] == [1, 1, 1]
    assert node.asked == [f'{{"turn": {program}}}' for program in order]


@pytest.mark.parametrize(
    ("answer", "shape"),
    [
        ((3,), (4,)),
        ((3,), ()),
        ((3,), {"a": (3,)}),
        ({"a": (3,)}, (3,)),
        ({"a": (3,)}, {"a": (3,), "b": (3,)}),
        ({"a": (3,)}, {"a": (2,)}),
    ],
)
def test_an_answer_of_another_shape_is_refused(answer: Any, shape: Any) -> None:
    made = {name: np.zeros(each) for name, each in answer.items()} if isinstance(answer, dict) else np.zeros(answer)
    with pytest.raises(Refused):
        refuse_other_shapes(made, shape)
    refuse_other_shapes(made, answer)
    refuse_other_shapes(made, None)
