"""Every proposer edits sources of several files, and files that are not Python."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.execution.parsing.parser import SourceParser
from node.execution.pause_gate import PauseGate
from node.execution.sandbox.layers import probe
from node.ledger.store import Ledger
from node.objective.sources import constants, fingerprint, read
from node.objective.trees import pack, unpack
from node.proposers.agent import Agent, AgentOrder
from node.proposers.answer import AnswerError, decode_answer
from node.proposers.catalogue import Catalogue, read_ideas
from node.proposers.endpoint import Endpoint, ModelAddress
from node.proposers.llm import LanguageModel
from node.proposers.numeric import Numeric
from node.proposers.prompt import ResearchBrief, situation
from node.proposers.proposer import Context
from node.proposers.recombine import Recombine
from node.proposers.repeats import Repeats
from node.proposers.spending import Amount, Caps, Prices, Spending
from node.proposers.suggested import Suggested
from protocol.metric import LOSS
from protocol.records import Effect, Hypothesis
from tests.node.conftest import ignore
from tests.node.proposers.model_server import model_server, says
from tests.node.records_for_tests import OBJECTIVE, Author, experiment

TRAIN = "import layers\n\nLR = 1e-3\nSHARED = 1\n\n\ndef rate():\n    return LR, SHARED, layers.WIDTH, layers.SHARED\n"
LAYERS = "WIDTH = 64\nSHARED = 2\n"
KERNEL = "#define TILE 32\nfloat add(float a, float b) { return a + b; }\n"
FILES = {"train.py": TRAIN, "parts/layers.py": LAYERS, "parts/add.cu": KERNEL}
SOURCE = pack(FILES)
EDITABLE = tuple(FILES)
SOURCE_ID = hashlib.sha256(SOURCE.encode()).digest()
BRIEF = ResearchBrief("an objective", "A model.", "loss", LOSS, EDITABLE, "", ("optimizer",), "cpu", "a CPU")


def changed(path: str, old: str, new: str) -> str:
    assert FILES[path].count(old) == 1
    return pack({**FILES, path: FILES[path].replace(old, new)})


def context(source: str = SOURCE, editable: Sequence[str] = EDITABLE, tried: Sequence[str] = ()) -> Context:
    known = frozenset(fingerprint(read(text, editable)) for text in (source, *tried))
    source_id = hashlib.sha256(source.encode()).digest()
    return Context(source, source_id, known, (), random.Random(1), SourceParser(editable=editable))


# ---- ideas, numbers, merges ----------------------------------------------------------------------------------------


async def test_a_known_idea_edits_several_files(tmp_path: Path) -> None:
    (tmp_path / "idea.toml").write_text(
        'category = "model"\n[[idea]]\ntitle = "t"\nreason = "r"\n'
        '[[idea.edit]]\nkind = "constant"\nname = "WIDTH"\nvalue = "128"\n'
        '[[idea.edit]]\nkind = "constant"\nfile = "train.py"\nname = "SHARED"\nvalue = "3"\n'
        '[[idea.edit]]\nkind = "text"\nold = "a + b"\nnew = "b + a"\n'
    )
    proposal = await Catalogue(read_ideas(tmp_path)).propose(context())
    assert proposal is not None
    assert unpack(proposal.source) == {
        "train.py": TRAIN.replace("SHARED = 1", "SHARED = 3"),
        "parts/layers.py": LAYERS.replace("64", "128"),
        "parts/add.cu": KERNEL.replace("a + b", "b + a"),
    }


async def test_the_search_over_numbers_finds_those_of_every_file() -> None:
    names = set[str]()
    for seed in range(40):
        proposal = await Numeric().propose(replace(context(), rng=random.Random(seed)))
        assert proposal is not None
        before, after = ({c.name: c.value for c in constants(unpack(text))} for text in (SOURCE, proposal.source))
        changed_here = {name for name in before if before[name] != after[name]}
        assert {part.partition(" ")[0] for part in proposal.title.split(", ")} == changed_here
        names |= changed_here
    assert names == {"LR", "WIDTH", "train.py:SHARED", "parts/layers.py:SHARED"}


async def test_what_peers_and_people_changed_in_one_file_is_merged_with_what_was_kept_in_another(
    tmp_path: Path,
) -> None:
    ledger, me = Ledger.open(tmp_path / "ledger.sqlite", OBJECTIVE), Author("me")
    wider, faster = changed("parts/layers.py", "64", "128"), changed("train.py", "1e-3", "2e-3")
    ids = {text: ledger.put_blob(text.encode()) for text in (SOURCE, wider, faster)}
    missed = experiment("Wider", ids[SOURCE], ids[wider], decision="unclear", effect=Effect(-0.004, 0.004, 2))
    person = Hypothesis("By hand", "suggestion", "", ids[wider], ids[SOURCE])
    for record in (me.write(missed), me.write(person)):
        ledger.add(record, "me")
    both = pack({**unpack(wider), "train.py": unpack(faster)["train.py"]})
    for proposer in (
        Recombine(ledger.all_records, ledger.get_blob, me.identity.author, ledger.is_proven),
        Suggested(ledger.all_records, ledger.get_blob, me.identity.author),
    ):
        proposal = await proposer.propose(context(faster))
        assert proposal is not None
        assert proposal.source == both
    ledger.close()


# ---- models --------------------------------------------------------------------------------------------------------


def answer(*edits: Mapping[str, object]) -> str:
    return json.dumps({"title": "t", "category": "optimizer", "reason": "r", "edits": list(edits)})


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        pytest.param(
            {"file": "parts/add.cu", "search": "TILE 32", "replace": "TILE 64"},
            changed("parts/add.cu", "TILE 32", "TILE 64"),
            id="in the file it names",
        ),
        pytest.param(
            {"search": "WIDTH = 64", "replace": "WIDTH = 8"},
            changed("parts/layers.py", "64", "8"),
            id="in the one file that has it",
        ),
        pytest.param(
            {"path": "train.py", "search": "SHARED = 1 \r\n", "replace": "SHARED = 5\r\n"},
            changed("train.py", "SHARED = 1", "SHARED = 5"),
            id="but for line ends and space",
        ),
    ],
)
def test_an_answers_edit_is_made(edit: Mapping[str, object], expected: str) -> None:
    assert decode_answer(answer(edit), SOURCE, EDITABLE, ["optimizer"]).source == expected


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ({"search": "SHARED = ", "replace": ""}, "occurs in train.py, parts/layers.py; say which is meant"),
        ({"search": "nowhere", "replace": ""}, "occurs 0 times in train.py, 0 times in parts/layers.py, 0 times in"),
        ({"file": "train.py", "search": "SHARED", "replace": ""}, "occurs 3 times in train.py; it must"),
        ({"file": "judge.py", "search": "LR", "replace": ""}, "only train.py, parts/layers.py, parts/add.cu can be"),
        ({"file": ["train.py"], "search": "LR", "replace": ""}, "only train.py, parts/layers.py, parts/add.cu can be"),
        ({"search": "1e-3", "replace": "1e-3"}, "change nothing"),
        ({"search": "1e-3", "replace": "'\ud800'"}, "cannot be stored: there are characters that are no text"),
        ({"search": "1e-3", "replace": "é" * 200_000}, "cannot be stored: the files take"),
        ({"search": "1e-3", "replace": "x" * 300_000}, "longer than"),
    ],
)
def test_an_answers_edit_that_cannot_be_made_is_explained(edit: Mapping[str, object], why: str) -> None:
    with pytest.raises(AnswerError, match=why):
        decode_answer(answer(edit), SOURCE, EDITABLE, ["optimizer"])


@pytest.mark.sockets
async def test_a_model_is_shown_every_file_and_edits_one() -> None:
    edit = {"file": "parts/add.cu", "search": "a + b", "replace": "b + a"}
    caps = Caps(Amount(10**6, 10.0), Amount(10**6, 10.0))

    class Drawer:
        spending: bytes | None = None

    with model_server(says(answer(edit))) as server:
        address = ModelAddress(server.url, "a-model", "a key", 1000, 5.0)
        endpoint = Endpoint(address, Prices(1.0, 1.0), Spending(Drawer(), caps, lambda: 0.0), ignore)
        model = LanguageModel(endpoint, BRIEF, list, Repeats(lambda _: None), None, PauseGate(), ignore)
        proposal = await model.propose(context())
    assert proposal is not None
    assert proposal.source == changed("parts/add.cu", "a + b", "b + a")
    system, user = (message["content"] for message in server.requests[0]["messages"])
    assert '"file": "one of: train.py, parts/layers.py, parts/add.cu"' in system
    for path, text in FILES.items():
        assert f"{path} as it is now:\n<data-source>\n{text.strip()}\n</data-source>" in user


def test_what_a_model_is_shown_of_a_file_it_can_search_for_there() -> None:
    text = 'LR = 1e-3\r\n\x0c\r\nNAME = "a\u2028b"\r\n'
    shown = situation(replace(BRIEF, editable=("train.py",)), context(text, ["train.py"]), [])
    copied = shown.partition("<data-source>\n")[2].partition("\n</data-source>")[0]
    assert copied == text.replace("\r\n", "\n").strip("\n")
    edit = {"search": copied, "replace": "LR = 2e-3\n"}
    assert decode_answer(answer(edit), text, ["train.py"], ["optimizer"]).source == "LR = 2e-3\r\n\r\n"


# ---- agents --------------------------------------------------------------------------------------------------------


class Asked:
    """An agent that is a line of Python, and what was logged of it."""

    def __init__(self, code: str, brief: ResearchBrief = BRIEF) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        order = AgentOrder((sys.executable, "-c", code), network=False, environment={}, seconds=60)
        self.agent = Agent(order, probe(), brief, list, list, Repeats(lambda _: None), None, PauseGate(), self.log)

    def log(self, event: str, **details: Any) -> None:
        self.events.append((event, details))


@pytest.mark.sandbox
async def test_an_agent_finds_every_file_in_its_place_and_may_change_all() -> None:
    code = (
        "import pathlib\nfor path in ('train.py', 'parts/layers.py', 'parts/add.cu'):\n"
        "    file = pathlib.Path(path)\n    file.write_text(file.read_text().replace('64', '8').replace('32', '16'))\n"
        "    file.rename('moved')\n    pathlib.Path('moved').rename(file)\nprint(open('brief.md').read()[:200])"
    )
    asked = Asked(code)
    proposal = await asked.agent.propose(context())
    assert proposal is not None, asked.events
    assert unpack(proposal.source) == {
        **FILES,
        "parts/layers.py": LAYERS.replace("64", "8"),
        "parts/add.cu": KERNEL.replace("32", "16"),
    }


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("os.remove('parts/add.cu')", "parts/add.cu cannot be read"),
        ("shutil.rmtree('parts'); os.symlink('/etc', 'parts')", "parts/layers.py cannot be read"),
        ("os.remove('parts/add.cu'); os.symlink('/etc/passwd', 'parts/add.cu')", "parts/add.cu cannot be read"),
        ("os.remove('parts/add.cu'); os.mkfifo('parts/add.cu')", "parts/add.cu cannot be read"),
        ("open('parts/layers.py', 'w').write('def (')", "parts/layers.py: the source does not parse"),
        (
            "open('parts/add.cu', 'w').write('x' * 200_000); open('train.py', 'a').write('#' * 200_000)",
            "bytes together",
        ),
        ("open('new.py', 'w').write('A = 1')", "tried on this source already"),
    ],
)
async def test_what_an_agent_leaves_behind_is_checked_file_by_file(code: str, why: str) -> None:
    asked = Asked(f"import os, shutil\n{code}")
    assert await asked.agent.propose(context()) is None
    assert why in repr(asked.events)


# ---- one file of another language ----------------------------------------------------------------------------------


async def test_a_single_file_that_is_not_python_is_proposed_for(tmp_path: Path) -> None:
    (tmp_path / "idea.toml").write_text(
        'category = "tiles"\n[[idea]]\ntitle = "t"\nreason = "r"\n'
        '[[idea.edit]]\nkind = "text"\nold = "TILE 32"\nnew = "TILE 64"\n'
    )
    asked = context(KERNEL, ["add.cu"])
    proposal = await Catalogue(read_ideas(tmp_path)).propose(asked)
    assert proposal is not None
    assert proposal.source == KERNEL.replace("TILE 32", "TILE 64")
    assert await Numeric().propose(asked) is None
    assert await asked.refusal(proposal.source) is None
    assert "tried" in str(await asked.refusal(KERNEL.replace("\n", "  \n")))


@pytest.mark.sandbox
async def test_an_agent_edits_a_single_file_that_is_not_python() -> None:
    brief = replace(BRIEF, editable=("kernels/add.cu",))
    asked = Asked("open('kernels/add.cu', 'a').write('// more\\r\\n')", brief)
    proposal = await asked.agent.propose(context(KERNEL.replace("\n", "\r\n"), brief.editable))
    assert proposal is not None, asked.events
    assert proposal.source == KERNEL.replace("\n", "\r\n") + "// more\r\n"
