"""A day with a bad model service: does it cost more than the caps of [llm] say, as the service itself counts?

    .venv/bin/python scripts/bad_service.py [--hours 24] [--rate 600] [--seed 1]

A service on loopback fails, is busy until a date, refuses parameters, answers with nothing, with prose, with floods or
too late, and lies about its usage, each with some probability. The program's own model proposer asks it all day, as
often as it may; its clock runs --rate times as fast. Counted by the service are all tokens that it read and wrote, by
its own measure (four bytes a token), also of answers that came to nothing. Failures (status 400 and above) are free, as
services have it. Exits with 1 where any hour or the day cost more than the caps.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.execution.parsing.parser import SourceParser
from node.execution.pause_gate import PauseGate
from node.objective.edits import fingerprint
from node.proposers.endpoint import Endpoint, ModelAddress
from node.proposers.llm import LanguageModel
from node.proposers.proposer import Context
from node.proposers.repeats import Repeats
from node.proposers.spending import Amount, Caps, Prices, Spending
from tests.node.proposers.model_server import ModelServer, Reply, idea, model_server, says
from tests.node.proposers.test_llm import BRIEF, SOURCE, Drawer

HOUR = 3600.0
CAPS = Caps(Amount(60_000, 0.5), Amount(400_000, 3.0))
PRICES = Prices(1.0, 10.0)
ANSWER_TOKENS, ANSWER_SECONDS = 1000, 60.0
TURN_SECONDS = 30.0  # of other research between two questions
BYTES_PER_TOKEN = 4
KINDS = {
    "an idea": 30, "usage of 0": 8, "usage of millions": 4, "no usage": 6, "nothing": 8, "prose": 8, "a flood": 4,
    "an error in a 200": 6, "500": 10, "429 with a date": 6, "400, refuses max_tokens": 3, "too late": 3,
}  # fmt: skip


@dataclass
class BadDay(list[Reply]):
    """Replies without end, as they are drawn; `given` are those so far, each with its kind and when it was given."""

    rng: random.Random
    given: list[tuple[float, str, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return True

    def pop(self, _: Any = 0) -> Reply:
        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        reply = self._reply(kind)
        written = 0 if reply.status >= 400 else min(ANSWER_TOKENS, len(reply.body) // BYTES_PER_TOKEN)
        self.given.append((time.monotonic(), kind, written))
        return reply

    def _reply(self, kind: str) -> Reply:
        good = idea("LR = 1e-3", f"LR = {self.rng.random():.6f}")
        match kind:
            case "usage of 0":
                return says(good, 0, 0)
            case "usage of millions":
                return says(good, 10**9, 10**9)
            case "no usage":
                return Reply(json.dumps({"choices": [{"message": {"content": json.dumps(good)}}]}).encode())
            case "nothing":
                return says("")
            case "prose":
                return says("I would try a smaller learning rate, since the loss oscillates.")
            case "a flood":
                return Reply(b"x" * (4 << 20))
            case "an error in a 200":
                return Reply(json.dumps({"error": {"message": "overloaded", "code": 503}}).encode())
            case "500":
                return Reply(b"{}", 500)
            case "429 with a date":
                return Reply(b"{}", 429, {"Retry-After": formatdate(time.time() + 40, usegmt=True)})
            case "400, refuses max_tokens":
                said = {"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model."}}
                return Reply(json.dumps(said).encode(), 400)
            case "too late":
                return Reply(b"{", hold=True)
            case _:
                return says(good, 900, 120)


async def a_day(server: ModelServer, hours: float, log: Any) -> Spending:
    spending = Spending(Drawer(), CAPS, trio.current_time)
    address = ModelAddress(server.url, "a-model", "a-key", ANSWER_TOKENS, ANSWER_SECONDS)
    model = LanguageModel(
        Endpoint(address, PRICES, spending, log), BRIEF, list, Repeats({}.get), None, PauseGate(), log
    )
    parser, known = SourceParser(), {fingerprint(SOURCE)}
    end = trio.current_time() + hours * HOUR
    while trio.current_time() < end:
        context = Context(SOURCE, b"s" * 32, frozenset(known), (), random.Random(1), parser)
        proposal = await model.propose(context)
        if proposal is not None:
            known.add(fingerprint(proposal.source))
        await trio.sleep(TURN_SECONDS)
    return spending


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--rate", type=float, default=600.0, help="how much faster the program's clock runs")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    events: Counter[str] = Counter()

    def log(event: str, level: str = "info", **details: object) -> None:
        events[event] += 1

    with model_server() as server:
        day = BadDay(random.Random(options.seed))
        server.replies = day
        begun = time.monotonic()
        spending = trio.run(a_day, server, options.hours, log, clock=MockClock(rate=options.rate))
    asked = [sum(len(message["content"].encode()) for message in request["messages"]) for request in server.requests]
    charged = [
        (options.rate * (at - begun), 0 if kind[0] in "45" else size // BYTES_PER_TOKEN + written)
        for (at, kind, written), size in zip(day.given, asked, strict=True)
    ]
    total = sum(tokens for _, tokens in charged)
    hour = max(sum(t for at, t in charged if begin <= at < begin + HOUR) for begin, _ in charged)
    for kind, count in Counter(kind for _, kind, _ in day.given).most_common():
        print(f"{count:5} × {kind}")
    print(f"{len(charged)} requests; the log: {', '.join(f'{name} {count}' for name, count in events.most_common())}")
    print(f"the dearest hour cost {hour:,} tokens of {CAPS.hour.tokens:,}, the day {total:,} of {CAPS.total.tokens:,}")
    print(f"the node counted {spending.total.tokens:,}, and money {spending.total.money:.2f} of {CAPS.total.money:.2f}")
    return 0 if hour <= CAPS.hour.tokens and total <= CAPS.total.tokens else 1


if __name__ == "__main__":
    sys.exit(main())
