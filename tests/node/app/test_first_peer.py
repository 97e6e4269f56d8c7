"""A node that was invited says so where nobody answers, instead of working alone in silence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from trio.testing import MockClock

from node.app.running import Node
from node.app.service import say_if_nobody_answers
from node.network import Network


@dataclass
class Told:
    """What stands for a node here: it remembers the events that it logs."""

    events: list[str] = field(default_factory=list)

    def log(self, event: str, **details: Any) -> None:
        self.events.append(event)


@dataclass
class Reached:
    """What stands for a network here."""

    found: list[str]

    def peers(self) -> list[str]:
        return self.found


@pytest.mark.parametrize(("found", "events"), [([], ["no peer reached"]), (["a peer"], [])])
async def test_it_is_told_once_when_no_peer_was_reached(
    autojump_clock: MockClock, found: list[str], events: list[str]
) -> None:
    node = Told()
    await say_if_nobody_answers(cast(Node, node), cast(Network, Reached(found)))
    assert node.events == events
