"""A model with good and bad ideas in the real loop: real HTTP, sandbox, training, judge. Only the good ones are kept.

One of the bad ones imports os and goes for the key and the user's files.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from node.execution.prepare import prepare_data
from node.execution.runner import Runner
from node.execution.sandbox.layers import probe, tier
from node.ledger.settings import Description
from node.ledger.store import Ledger
from node.objective.limits import host_limits
from node.objective.load import load_objective
from node.platform.config import load_config
from node.proposers.configured import configured
from node.proposers.strategy import Strategy
from node.research.incumbent import Incumbent
from node.research.loop import Research
from node.research.workspace import Workspace
from node.trials.cached_runner import CachedRunner
from node.trials.own_seeds import OwnSeeds
from protocol.identity import Identity
from protocol.records import Experiment, body_to_json
from tests.node.execution.small_objective import TOKENS, copy_tinylm
from tests.node.proposers.model_server import ModelServer, idea, model_server, says

KEY = "sk-the-key-of-the-person"
SECRET = "the-words-in-a-private-file"
STEP = "        loss = loss_of(model, x, y)\n"


def raid(secret: Path) -> str:
    """Code that searches for secrets and prints those it finds."""
    return f"""        import os, glob
        found = repr(dict(os.environ))
        for path in [{str(secret)!r}, {str(secret.parent)!r} + "/home/identity.key", "/proc/self/environ",
                     *glob.glob("/proc/[0-9]*/environ"), *glob.glob(os.path.expanduser("~") + "/.*")]:
            try:
                found += open(path, errors="replace").read()
            except OSError as error:
                found += repr(error)
        raise SystemExit("found: " + found[-3500:])
"""


class Silent:
    def show(self, title: str, progress: object) -> None: ...

    def clear(self) -> None: ...


def scripted(secret: Path) -> list[tuple[dict[str, Any], str]]:
    """What the model answers, and what must become of it."""
    return [
        (idea("LR = 1e-3", "LR = 1e-9", "No learning"), "no_gain"),
        (idea("def activation(x):", "import os\n\n\ndef activation(x):\n    os.no_such_thing()", "Crash"), "failed"),
        (idea("INIT_STD = 0.3", "INIT_STD = 0.04", "Smaller initialisation"), "improved"),
        (idea(STEP, raid(secret) + STEP, "A raid"), "failed"),
    ]


@pytest.mark.long
@pytest.mark.sandbox
@pytest.mark.sockets
@pytest.mark.timeout(600)
async def test_the_loop_keeps_exactly_the_good_ideas_and_no_secret_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "private.txt"
    secret.write_text(SECRET)
    monkeypatch.setenv("A_MODELS_KEY", KEY)
    script = scripted(secret)
    events: list[tuple[str, dict[str, Any]]] = []
    with model_server(*(says(answer) for answer, _ in script)) as server:
        records = await research(tmp_path, server, len(script), events)
    recorded = [(record["body"]["title"], record["body"]["decision"]) for record in records]
    assert recorded == [(answer["title"], decision) for answer, decision in script]
    raided = next(details for event, details in events if event == "run failed" and details["title"] == "A raid")
    assert "found: " in raided["log_tail"]
    everything = json.dumps([records, server.requests]) + repr(events)
    assert KEY not in everything
    assert SECRET not in everything
    assert "no_such_thing" in server.said(2)  # a crash's last output goes back to the model
    assert sum(event == "LLM asked" for event, _ in events) == len(script)


async def research(
    folder: Path, server: ModelServer, turns: int, events: list[tuple[str, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Let a node that has nothing but the model take so many turns; returns its records."""

    def log(event: str, **details: Any) -> None:
        events.append((event, details))

    (folder / "swarm.toml").write_text(
        f'[llm]\nmodel = "a-model"\nbase_url = "{server.url}"\nkey_env = "A_MODELS_KEY"\nprice_answer = 2.0\n'
    )
    config = load_config(folder / "swarm.toml", {"home": str(folder / "home")})
    layers = probe()
    objective = load_objective(copy_tinylm(folder, tokens=TOKENS, wall_seconds=120), folder / "data")
    await prepare_data(objective, layers, host_limits(config), log)
    ledger = Ledger.open(folder / "home" / "ledger.sqlite", objective.id)
    ledger.put_blob(objective.source.encode())
    rng, identity = random.Random(1), Identity.from_seed(os.urandom(32))
    async with Runner(objective, layers, folder / "weights", log) as runner:
        cached_runner = CachedRunner(
            objective,
            ledger,
            runner,
            OwnSeeds(identity, objective.id),
            "cpu",
            "a CPU",
            "a platform",
            tier(layers) or "",
            log,
            Silent(),
        )
        editable = objective.editable
        workspace = Workspace.open(folder / "workspace", editable, objective.source, lambda _: "", Description(), log)
        every = configured(config, cached_runner, layers, identity.author, log)
        model = [proposer for proposer in every if proposer.name == "llm"]
        loop = Research(
            identity,
            cached_runner,
            Incumbent(identity.author, cached_runner, workspace, log),
            Strategy(model, objective.priors_for, log),
            workspace,
            rng,
            lambda: 1_700_000_000_000,
            log,
        )
        for _ in range(turns):
            assert await loop.turn() is not None
    records = [record for record in ledger.all_records() if isinstance(record.body, Experiment)]
    ledger.close()
    return [body_to_json(record) for record in records]
