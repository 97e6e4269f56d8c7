"""A folder of texts becomes an objective, by the command itself; nothing of the person's but tokens is in it."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from node.authoring.corpus import making
from node.authoring.corpus.splits import Least
from node.authoring.template import TEMPLATES
from node.cli.main import main
from node.objective.catalog import CatalogError
from node.objective.load import complaints, load_objective
from node.objective.schema import Objective
from protocol.objective import decode_manifest

SMALL = replace(  # as little as shows everything
    making.ON_CPU,
    least=Least(train=60_000, scored=30_000, most_train=1 << 20, most_scored=1 << 20),
    vocabulary=512,
    scored_tokens=64 * 65,
    settings={"task": {"vocabulary": 512}},
    constants={"judge.py": {"VOCABULARY": 512, "WINDOWS": 40, "CHECKPOINT_WINDOWS": 8}},
)
WORDS = ["".join(random.Random(f"{word}").choices("abcdefghijklmnopqrstuvwxyz", k=5)) for word in range(2000)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "ON_CPU", SMALL)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Forty documents under a name that nobody else is to know, each of another day."""
    folder = tmp_path / "patients of 2024"
    folder.mkdir()
    for number in range(40):
        dice = random.Random(number)
        path = folder / f"letter to Mrs Miller {number}.txt"
        path.write_text("\n\n".join(" ".join(dice.choices(WORDS, k=100)) for _ in range(8)))
        os.utime(path, (1e9 + 86_400 * number,) * 2)
    (folder / "scan of passport.png").write_bytes(b"\x89PNG\0\0\0")
    return folder


def new(tmp_path: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["objective", "new", *arguments, "--home", str(tmp_path / "home")])
    return int(ended.value.code or 0)


def made(tmp_path: Path, texts: Path, *arguments: str) -> Objective:
    assert new(tmp_path, "corpus", str(tmp_path / "own"), "--texts", str(texts), *arguments) == 0
    assert complaints(tmp_path / "own") == []
    return load_objective(tmp_path / "own", tmp_path / "own")


def test_the_command_makes_an_objective_and_says_what_became_of_the_files(
    tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objective = made(tmp_path, texts)
    said = capsys.readouterr().out
    assert "41 files, 40 documents; 40 are used" in said
    assert "1 passed over: no text: it has zero bytes" in said
    assert "peers are given neither texts nor names of files" in said
    assert "2001-10-18" in said  # the last day, of the holdout
    tokens = {data.name: np.fromfile(objective.root / data.entry.path, dtype="<u2") for data in objective.data}
    lengths = np.frombuffer(objective.files["token_bytes.u8"], dtype=np.uint8)
    whole = sum(path.stat().st_size for path in texts.glob("*.txt"))
    assert sum(int(lengths[found].sum()) for found in tokens.values()) == whole + 40  # each with its beginning
    assert max(int(found.max()) for found in tokens.values()) < 512
    assert (objective.device, objective.secret_seed, objective.vocabulary) == ("cpu", True, 512)


def test_nothing_of_the_texts_but_tokens_is_in_the_folder_and_peers_are_given_none(tmp_path: Path, texts: Path) -> None:
    objective = made(tmp_path, texts)
    manifest = decode_manifest(objective.manifest_bytes)
    assert {entry.path for entry in manifest.data} == {"train.u16", "val.u16", "holdout.u16"}
    assert {data.name for data in objective.unshared} == {"train", "val", "holdout"}
    everything = objective.manifest_bytes + b"".join(objective.files.values()) + " ".join(objective.files).encode()
    for private in (b"patients", b"Miller", b"passport", str(tmp_path).encode(), WORDS[0].encode()):
        assert private not in everything
    report = tmp_path / "own-report.json"
    assert report.stat().st_mode & 0o077 == 0
    assert json.loads(report.read_text())["skipped_files"] == {"no text: it has zero bytes": ["scan of passport.png"]}
    assert set(json.loads(report.read_text())["licences"]) == {"not said"}


def test_sharing_has_to_be_said_and_makes_another_objective(tmp_path: Path, texts: Path) -> None:
    private = made(tmp_path, texts)
    (tmp_path / "again").mkdir()
    shared = made(tmp_path / "again", texts, "--share")
    assert (len(private.unshared), shared.unshared) == (3, ())
    assert shared.id != private.id
    assert [data.entry.sha256 for data in shared.data] == [data.entry.sha256 for data in private.data]


def test_too_little_text_is_refused_and_nothing_is_written(
    tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "ON_CPU", replace(SMALL, least=replace(SMALL.least, train=1 << 20)))
    assert new(tmp_path, "corpus", str(tmp_path / "own"), "--texts", str(texts)) == 2
    said = capsys.readouterr().err
    assert "are needed: 1,048,576 to train on" in said
    assert "41 files were looked at, 1 passed over" in said
    assert not (tmp_path / "own").exists()
    assert not (tmp_path / "own-report.json").exists()


def test_places_that_will_not_do_are_refused_before_anything_is_read(tmp_path: Path, texts: Path) -> None:
    def refused(folder: Path, given: Path) -> str:
        with pytest.raises(CatalogError) as error:
            making.make(folder, None, given, gpu=False, shared=False, show=lambda doing: None)
        return str(error.value)

    own = tmp_path / "own"
    assert "there is no folder" in refused(own, tmp_path / "nothing")
    assert "is not an empty folder" in refused(texts, texts)
    assert "lies among the texts" in refused(texts / "own", texts)
    assert "every run could read" in refused(Path("/usr/share/own"), texts)
    assert "every run can read" in refused(own, Path(np.__file__).parent)
    (tmp_path / "own-report.json").touch()
    assert "is there already" in refused(own, texts)


def test_texts_of_the_system_are_hidden_from_runs(tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert making._hidden(texts) == []
    assert making._hidden(Path("/usr/share/doc")) == ["/usr/share/doc"]
    monkeypatch.setattr(making, "_hidden", lambda texts: ["/usr/share/doc"])
    objective = made(tmp_path, texts)
    assert objective.hidden == ("/usr/share/doc",)


def test_a_corpus_needs_texts_and_texts_make_a_corpus(
    tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new(tmp_path, "corpus", str(tmp_path / "own")) == 2
    assert "`autoresearch-node objective new corpus FOLDER --texts TEXTS`" in capsys.readouterr().err
    assert new(tmp_path, "bpe", str(tmp_path / "own"), "--texts", str(texts)) == 2
    assert new(tmp_path, str(tmp_path / "own"), "--texts", str(texts)) == 0
    assert "corpus" in TEMPLATES


def test_with_a_gpu_and_much_text_it_is_a_large_model(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = replace(making.ON_GPU, least=replace(SMALL.least, train=30_000), scored_tokens=1000, vocabulary=512)
    monkeypatch.setattr(making, "ON_GPU", replace(large, settings={**large.settings, "task": {"vocabulary": 512}}))
    made_here = making.make(tmp_path / "own", None, texts, gpu=True, shared=False, show=lambda doing: None)
    objective = load_objective(tmp_path / "own", tmp_path)
    assert made_here.report["size"] == making.ON_GPU.name
    assert (objective.device, objective.budget.seconds, objective.budget.tokens) == ("gpu", 60, 0)
    assert "DEPTH = 8  # layers" in objective.source
    assert b"CONTEXT = 512" in objective.files["judge.py"]
