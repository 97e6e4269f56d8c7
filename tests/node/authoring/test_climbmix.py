"""The template climbmix: shards from an address, fixed once by who makes the objective, become text and tokens.

Small parquet files made here, a real server on loopback that fails first, a real sandbox for prepare.py, real runs.
"""

from __future__ import annotations

import json
import random
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import trio
from pyarrow import parquet

from node.authoring.fixing import fix_made_data
from node.authoring.template import TEMPLATES, begin
from node.cli.main import main
from node.execution.prepare import prepare_data
from node.execution.sandbox.layers import probe
from node.network.downloads.store import DownloadStore
from node.objective.load import complaints, load_objective
from node.objective.schema import SETTINGS, ObjectiveError
from node.platform.home import Home
from tests.node.conftest import ignore
from tests.node.execution.small_objective import ENOUGH
from tests.node.network.downloads.file_server import Served, file_server

REPOSITORY = Path(__file__).parents[3]
NANOLM = REPOSITORY / "objectives" / "nanolm"
SCORED = 100_000  # bytes of a scored split here
SMALLER = {  # what a maker would change for shards as small as these
    "prepare.py": [("SCORED_BYTES = 12_000_000", f"SCORED_BYTES = {SCORED}")],
    "judge.py": [('"cpu": (128, 1024, 128, 16)', '"cpu": (128, 64, 8, 16)')],
    SETTINGS: [("tokens = 131072", "tokens = 2048"), ("checkpoints = [20, 50, 100]", "checkpoints = [1]")],
}


def stories(number: int, size: int) -> list[str]:
    """Documents of made-up words, other ones for each number."""
    words = ["".join(random.Random(f"{word}").choices("abcdefghijklmnopqrstuvwxyz", k=7)) for word in range(4000)]
    dice, found = random.Random(f"shard {number}"), []
    while sum(map(len, found)) < size:
        found.append("\n\n".join(" ".join(dice.choices(words, k=60)) for _ in range(3)))
    return found


def shard(path: Path, documents: list[str]) -> Path:
    parquet.write_table(pyarrow.table({"text": documents}), path, row_group_size=16)
    return path


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Two shards to train on, and a last one, by the names that the template gives them."""
    folder = tmp_path_factory.mktemp("shards")
    sizes = {0: 400_000, 1: 100_000, 6542: 3 * SCORED}
    made = {f"shard_{number:05}.parquet": stories(number, size) for number, size in sizes.items()}
    return {name: shard(folder / name, documents).read_bytes() for name, documents in made.items()}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An objective from the template, for small shards."""
    root = tmp_path / "own"
    begin(root, None, "climbmix")
    for name, changes in SMALLER.items():
        replace_in(root / name, *changes)
    return root


def replace_in(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        assert text.count(old) == 1, (path, old)
        text = text.replace(old, new)
    path.write_text(text)


def ask(home: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["objective", *arguments, "--home", str(home)])
    return int(ended.value.code or 0)


@pytest.mark.long
@pytest.mark.sandbox
@pytest.mark.sockets
def test_shards_are_fetched_fixed_and_made_into_an_objective_with_runs(
    tmp_path: Path, own: Path, shards: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    served = {name: Served(content) for name, content in shards.items()}
    served["shard_00000.parquet"].cut = [60_000]  # it breaks off once
    with file_server(**served) as server:
        address = "https://huggingface.co/datasets/karpathy/climbmix-400b-shuffle/resolve/main/"
        settings = (own / SETTINGS).read_text()
        assert settings.count(f'urls = ["{address}shard_') == 3
        mirrored = re.sub(
            rf'urls = \["{address}(.*)"\]', rf'urls = ["{server.url}/gone/\1", "{server.url}/\1"]', settings
        )
        (own / SETTINGS).write_text(mirrored)
        assert any("`autoresearch-node objective prepare FOLDER` fetches" in each for each in complaints(own))
        assert ask(home, "prepare", "--yes", str(own)) == 0
        assert f"next: autoresearch-node objective check --fix {own}" in capsys.readouterr().out
        assert server.ranges("/shard_00000.parquet")[1].startswith("bytes=")
    assert ask(home, "check", "--fix", "--json", str(own)) == 0, capsys.readouterr().out
    found = json.loads(capsys.readouterr().out)
    assert (found["faults"], found["scale"]["name"]) == ([], "cpu")
    assert {"data.sha256 of train.u16", "the file token_bytes.u8"} <= {each["setting"] for each in found["fixed"]}
    assert found["baseline"]["value"] > 0

    objective = load_objective(own, tmp_path / "again")
    downloaded = DownloadStore(Home(home).downloads).paths(objective.downloads)
    trio.run(prepare_data, objective, probe(), ENOUGH, ignore, downloaded)  # the same bytes, or it raises
    sizes = np.frombuffer((own / "token_bytes.u8").read_bytes(), np.uint8)
    texts = {
        name: np.frombuffer((objective.data_dir / f"{name}.u16").read_bytes(), "<u2")
        for name in ("train", "val", "holdout")
    }
    assert len(sizes) == 8192
    assert int(sizes[texts["train"]].sum()) > 490_000
    assert all(SCORED <= int(sizes[texts[name]].sum()) < SCORED + 3000 for name in ("val", "holdout"))
    assert np.count_nonzero(texts["val"] == 0) > 50  # the byte before each document
    changed = [each["setting"] for each in found["fixed"]]
    assert ask(home, "check", "--fix", "--quick", "--json", str(own)) == 0, changed


def test_what_the_template_takes_is_nanolms(own: Path, tmp_path: Path) -> None:
    untouched = tmp_path / "untouched"
    begin(untouched, None, "climbmix")
    for name, there in (("train.py", "train.py"), ("judge.py", "judge.py"), ("nanolm_prepare.py", "prepare.py")):
        assert (untouched / name).read_bytes() == (NANOLM / there).read_bytes()
        assert not (TEMPLATES["climbmix"] / name).exists()
    ideas = {path.name: path.read_bytes() for path in (untouched / "ideas").iterdir()}
    assert ideas == {path.name: path.read_bytes() for path in (NANOLM / "ideas").glob("*.toml")}
    assert not (untouched / "takes.toml").exists()
    here, there = (tomllib.loads((root / SETTINGS).read_text()) for root in (untouched, NANOLM))
    assert here["name"] == "untouched"
    assert here["scales"] == there["scales"][:1]  # the judge and the source know these two
    for part in ("editable", "judge", "device", "categories", "metric", "budget", "task", "priors", "classes"):
        assert here[part] == there[part], part


def test_a_new_one_says_that_its_files_are_fetched_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path / "home", "new", str(tmp_path / "mine"), "--template", "climbmix") == 0
    told = capsys.readouterr().out
    assert "made from 3 files that are fetched first" in told
    assert f"autoresearch-node objective prepare {tmp_path / 'mine'}" in told
    assert f"autoresearch-node objective check --fix {tmp_path / 'mine'}" in told


MAKES_A_TABLE = """
import sys
from pathlib import Path

for name in ("train.u16", "val.u16", "holdout.u16"):
    (Path(sys.argv[1]) / name).write_bytes(bytes(100))
(Path(sys.argv[1]) / "token_bytes.u8").write_bytes(bytes([7]) * 8192)
"""


@pytest.mark.sandbox
def test_a_table_of_tokens_bytes_replaces_an_older_one_and_nothing_else(own: Path, tmp_path: Path) -> None:
    (own / "prepare.py").write_text(MAKES_A_TABLE)
    settings = (own / SETTINGS).read_text()
    (own / SETTINGS).write_text(re.sub(r"(?m)^\[\[downloads\]\]\n.*\n.*\n", "", settings))
    table = own / "token_bytes.u8"

    def fix() -> set[str]:
        store = DownloadStore(tmp_path / "downloads")
        return {change.setting for change in trio.run(fix_made_data, own, probe(), ENOUGH, store)}

    for before in (None, bytes([1]) * 8192):
        if before is not None:
            table.write_bytes(before)
        assert "the file token_bytes.u8" in fix()
        assert table.read_bytes() == bytes([7]) * 8192
        assert fix() == set()
    table.write_text("somebody's own notes")
    with pytest.raises(ObjectiveError, match="is no table of 8192 tokens' bytes; remove it"):
        fix()
    assert table.read_text() == "somebody's own notes"
    table.unlink()
    table.symlink_to(own / "train.py")
    with pytest.raises(ObjectiveError, match="is no table"):
        fix()


def prepared(root: Path, out: Path, *shards: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    """prepare.py, run by itself. before: Python that comes first."""
    out.mkdir(exist_ok=True)
    words = [str(root / "prepare.py"), str(out), *(f"{path.name}={path}" for path in shards)]
    code = f"import runpy, sys\n{before}\nsys.argv = {words!r}\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=200)


def test_without_what_reads_parquet_it_says_what_to_install(own: Path, tmp_path: Path) -> None:
    shards = [shard(tmp_path / name, ["A story."]) for name in ("first", "last")]
    ended = prepared(own, tmp_path / "out", *shards, before="sys.modules['pyarrow'] = None")
    assert ended.returncode == 1
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (pinned,) = extras["climbmix"]
    assert ended.stderr.strip() == (
        "prepare.py: ClimbMix is in parquet files, which pyarrow reads, and it is not installed. Install it: "
        f"{sys.executable} -m pip install {pinned}"
    )
    assert pinned in extras["test"]


def test_shards_that_do_not_do_are_named(own: Path, tmp_path: Path) -> None:
    good = shard(tmp_path / "good", ["A story."])
    no_parquet, no_text = tmp_path / "page", tmp_path / "numbers"
    no_parquet.write_text("<html>sign in</html>")
    parquet.write_table(pyarrow.table({"number": [1]}), no_text)
    for shards, told in (
        ((good,), "must name two shards at least under [[downloads]]"),
        ((good, no_parquet), "page cannot be read as a parquet file"),
        ((good, no_text), 'numbers has no column "text"'),
        ((good, good), "good has 9 bytes of text, and 200,000 are to be scored"),
        ((good, shard(tmp_path / "scored", stories(1, 3 * SCORED))), "too few words to learn an encoding from"),
    ):
        ended = prepared(own, tmp_path / "out", *shards)
        assert (ended.returncode, told in ended.stderr) == (1, True), ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.fixture
def functions(own: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield runpy.run_path(str(own / "prepare.py"))
    sys.modules.pop("nanolm_prepare", None)


def test_what_is_scored_is_not_trained_on_and_endless_words_are_left_out(
    functions: dict[str, Any], tmp_path: Path
) -> None:
    passage = "A passage that stands in two shards, as many do on the web, word for word. " * 3
    scored = shard(tmp_path / "last", [passage, "Only here."])
    train = shard(tmp_path / "first", [f"Before.\n\n{passage}\n\nBehind.", "x" * 200, "A nul \0 and a\r\nline.", None])
    seen: set[bytes] = set()
    assert len(list(functions["documents"]([("last", scored)], seen))) == 2
    assert list(functions["documents"]([("first", train)], seen)) == [
        b"\0Before.\n\nBehind.",
        b"\0A nul  and a\nline.",
    ]


def test_text_is_bounded_and_read_no_further_than_it_is_used(functions: dict[str, Any]) -> None:
    asked = []

    def parts() -> Iterator[bytes]:
        for number in range(1000):
            asked.append(number)
            yield bytes(1_000_000)

    chunks = list(functions["chunked"](parts(), 20_000_000))
    assert [len(chunk) for chunk in chunks] == [8_000_000, 8_000_000, 4_000_000]
    assert len(asked) == 20
