"""A person's idea on its way from the command line into the node's feed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import trio

from node.cli.main import main
from node.execution.parsing.parser import SourceParser
from node.ledger.settings import Description
from node.ledger.store import Ledger
from node.objective.trees import pack, unpack
from node.platform.home import Home
from node.proposers.suggestion_inbox import MAX_WAITING, SuggestionError, read_edit, take_up
from protocol.identity import Identity
from protocol.records import Effect, Hypothesis, Record
from tests.node.records_for_tests import OBJECTIVE, experiment

BASELINE = "import random\n\nLR = 1\n\nBATCH = 8\n\nDEPTH = 2\nrandom.seed(3)\n\n\ndef rate():\n    return 1\n"
BEST = BASELINE.replace("LR = 1", "LR = 2")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that has improved its source once."""
    home = Home(tmp_path / "home")
    home.make()
    identity = Identity.from_seed(os.urandom(32))
    ledger = Ledger.open(home.ledger, OBJECTIVE)
    (home.root / "identity.key").write_text(identity.seed.hex())
    ledger.set_meta("objective", OBJECTIVE)
    ledger.set_meta("author", identity.author)
    known = [ledger.put_blob(text.encode()) for text in (BASELINE, BEST)]
    ledger.set_meta("baseline", known[0])
    ledger.append_own(identity, experiment("Faster", known[0], known[1], effect=Effect(-0.1, 0.01, 2)), 0)
    ledger.close()
    return home


def suggest(home: Home, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["suggest", *arguments, "--home", str(home.root)])
    assert not ended.value.code


def refused(home: Home, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["suggest", *arguments, "--home", str(home.root)])
    assert ended.value.code == 2
    return capsys.readouterr().err


def taken(home: Home, events: list[str] | None = None) -> list[Record]:
    """What a node that starts in this home makes of what waits there."""
    ledger = Ledger.open(home.ledger, OBJECTIVE)
    logged = events if events is not None else []
    made = trio.run(
        take_up, home.suggestions, ledger, home.identity(), 0, SourceParser(), lambda event, **_: logged.append(event)
    )
    ledger.close()
    return made


def edited(tmp_path: Path, text: str) -> str:
    path = tmp_path / "edited.py"
    path.write_text(text)
    return str(path)


def test_an_idea_in_words_becomes_a_record_once(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    suggest(home, "  Try a cosine\n schedule ")
    assert "when it next starts" in capsys.readouterr().out
    (record,) = taken(home)
    assert record.body == Hypothesis("Try a cosine schedule", "suggestion", "", None, None)
    assert taken(home) == []


def test_a_long_idea_keeps_its_words_as_the_reason(home: Home) -> None:
    suggest(home, "word " * 90)
    (record,) = taken(home)
    assert isinstance(record.body, Hypothesis)
    assert len(record.body.title) <= 120
    assert record.body.title.endswith("…")
    assert record.body.reason == ("word " * 90).strip()


@pytest.mark.parametrize(("copied", "base"), [(BASELINE, 0), (BEST, 1)])
def test_an_edit_is_based_on_the_best_it_was_copied_from(home: Home, tmp_path: Path, copied: str, base: int) -> None:
    suggest(home, "Deeper", "--edit", edited(tmp_path, copied.replace("DEPTH = 2", "DEPTH = 3")))
    (record,) = taken(home)
    assert isinstance(record.body, Hypothesis)
    ledger = Ledger.read(home.ledger)
    assert record.body.edit is not None
    assert ledger.get_blob(record.body.edit) == copied.replace("DEPTH = 2", "DEPTH = 3").encode()
    assert record.body.base is not None
    assert ledger.get_blob(record.body.base) == (BASELINE, BEST)[base].encode()
    ledger.close()


def test_a_node_killed_after_writing_the_record_does_not_write_it_again(home: Home) -> None:
    suggest(home, "Try a cosine")
    (waiting,) = home.suggestions.glob("*.json")
    content = waiting.read_bytes()
    assert len(taken(home)) == 1
    waiting.write_bytes(content)
    assert taken(home) == []
    assert not list(home.suggestions.glob("*.json"))


def test_a_suggestion_for_another_objective_waits(home: Home) -> None:
    suggest(home, "Try a cosine")
    (waiting,) = home.suggestions.glob("*.json")
    waiting.write_text(json.dumps({**json.loads(waiting.read_text()), "objective": "00" * 32}))
    assert taken(home) == []
    assert waiting.exists()


NO_EDIT = '{"text": "x", "edit": 3, "base": null, "objective": "%s"}'


@pytest.mark.parametrize("content", ["", "[]", "{", '{"text": 3}', "[" * 100_000, NO_EDIT])
def test_a_file_that_is_no_suggestion_is_set_aside(home: Home, content: str) -> None:
    home.suggestions.mkdir()
    (home.suggestions / "1.json").write_text(content.replace("%s", "00" * 32))
    events: list[str] = []
    assert taken(home, events) == []
    assert events == ["suggestion refused"]
    assert (home.suggestions / "1.refused").exists()


def test_what_cannot_be_taken_is_refused_at_once(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "say in a sentence" in refused(home, capsys, " \n ")
    assert "600 characters, 500 are allowed" in refused(home, capsys, "x" * 600)
    said = refused(home, capsys, "x", "--edit", edited(tmp_path, "def ("))
    assert "the edit of train.py cannot be used: the source does not parse: SyntaxError: invalid syntax, line 1" in said
    assert "apart from comments" in refused(home, capsys, "x", "--edit", edited(tmp_path, BEST + "# hello\n"))
    assert "nothing but chance" in refused(home, capsys, "x", "--edit", edited(tmp_path, BEST.replace("(3)", "(4)")))
    assert "No such file" in refused(home, capsys, "x", "--edit", str(tmp_path / "absent.py"))
    assert "256 KiB" in refused(home, capsys, "x", "--edit", edited(tmp_path, "#" * (300 << 10)))
    assert "is empty" in refused(home, capsys, "x", "--edit", edited(tmp_path, " \n"))
    (tmp_path / "program.md").write_text("Try other things.\n")
    assert "program.md is no copy of train.py" in refused(home, capsys, "x", "--edit", str(tmp_path / "program.md"))
    (tmp_path / "edited.py").write_bytes(b"\xff")
    assert "not UTF-8" in refused(home, capsys, "x", "--edit", str(tmp_path / "edited.py"))


def test_a_file_that_may_not_be_edited_is_no_copy(tmp_path: Path) -> None:
    """bench.py would be taken for an edit of sort.py, and run: it measures."""
    (tmp_path / "bench.py").write_text("x = 1\n")
    with pytest.raises(SuggestionError, match=r"bench\.py is no copy of sort\.py, which alone may be edited here"):
        read_edit(tmp_path / "bench.py", ("sort.py",), ("bench.py", "sort.py"))
    assert read_edit(tmp_path / "bench.py", ("sort.py",), ("sort.py",)) == {"sort.py": "x = 1\n"}


def test_no_more_wait_than_a_person_can_mean(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.suggestions.mkdir()
    for number in range(MAX_WAITING):
        (home.suggestions / f"{number}.json").touch()
    assert "wait already" in refused(home, capsys, "one more")


def test_suggesting_needs_a_home_that_has_joined_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "autoresearch-node join" in refused(Home(tmp_path / "nowhere"), capsys, "x")


# ---- several files -------------------------------------------------------------------------------------------------

TREE = {"train.py": BASELINE, "model/layers.py": "WIDTH = 1\n", "model/add.cu": "a + b\n", "old/add.cu": "a\n"}


@pytest.fixture
def home_of_a_tree(tmp_path: Path) -> Home:
    """A home whose objective has several files, and that has improved one of them once."""
    home = Home(tmp_path / "home")
    home.make()
    identity = Identity.from_seed(os.urandom(32))
    ledger = Ledger.open(home.ledger, OBJECTIVE)
    (home.root / "identity.key").write_text(identity.seed.hex())
    known = [ledger.put_blob(pack(files).encode()) for files in (TREE, TREE | {"train.py": BEST})]
    ledger.settings.choose(Description(baseline=known[0], editable=tuple(TREE)))
    ledger.settings.author = identity.author
    ledger.append_own(identity, experiment("Faster", known[0], known[1], effect=Effect(-0.1, 0.01, 2)), 0)
    ledger.close()
    return home


def suggested(home: Home) -> tuple[dict[str, str], dict[str, str]]:
    """The files of the one suggestion that was taken up, and those of its base."""
    (record,) = taken(home)
    assert isinstance(record.body, Hypothesis)
    ledger = Ledger.read(home.ledger)
    edit, base = (ledger.get_blob(source or b"") for source in (record.body.edit, record.body.base))
    ledger.close()
    assert edit is not None
    assert base is not None
    return unpack(edit.decode()), unpack(base.decode())


def written(folder: Path, **files: str) -> Path:
    """These files below a folder; in a path, __ stands for a slash and _dot_ for a dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


def test_a_copy_of_one_file_is_known_by_its_name_and_the_rest_is_the_bases(
    home_of_a_tree: Home, tmp_path: Path
) -> None:
    folder = written(tmp_path / "mine", layers_dot_py="WIDTH = 2\n")
    suggest(home_of_a_tree, "Wider", "--edit", str(folder / "layers.py"))
    edit, base = suggested(home_of_a_tree)
    assert base == TREE | {"train.py": BEST}  # of equally near ones the newest
    assert edit == base | {"model/layers.py": "WIDTH = 2\n"}


def test_of_files_of_one_name_the_folder_says_which(
    home_of_a_tree: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "mine", add_dot_cu="b\n", model__add_dot_cu="b + a\n")
    said = refused(home_of_a_tree, capsys, "x", "--edit", str(folder / "add.cu"))
    assert "may be a copy of model/add.cu or old/add.cu; give a folder" in said
    suggest(home_of_a_tree, "The other way round", "--edit", str(folder / "model" / "add.cu"))
    edit, base = suggested(home_of_a_tree)
    assert edit == base | {"model/add.cu": "b + a\n"}


def test_a_folder_may_hold_some_of_the_files(home_of_a_tree: Home, tmp_path: Path) -> None:
    deeper = BASELINE.replace("DEPTH = 2", "DEPTH = 3")
    folder = written(tmp_path / "mine", train_dot_py=deeper, model__layers_dot_py="WIDTH = 2\n", notes_dot_md="x")
    suggest(home_of_a_tree, "Deeper and wider", "--edit", str(folder))
    edit, base = suggested(home_of_a_tree)
    assert base == TREE  # from which the copy differs least
    assert edit == TREE | {"train.py": deeper, "model/layers.py": "WIDTH = 2\n"}


def test_files_that_cannot_be_taken_are_refused_at_once(
    home_of_a_tree: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def why(path: Path) -> str:
        return refused(home_of_a_tree, capsys, "x", "--edit", str(path))

    other = written(tmp_path / "other", judge_dot_py="A = 1\n", model__layers_dot_py="def (", train_dot_py=BEST)
    assert "no file that may be edited is called judge.py" in why(other / "judge.py")
    assert "model/layers.py: the source does not parse" in why(other / "model" / "layers.py")
    assert "has none of the files that may be edited: train.py, model/layers.py" in why(
        written(tmp_path / "e", a_dot_py="")
    )
    assert "apart from comments" in why(other / "train.py")
    assert "No such file" in why(tmp_path / "absent" / "train.py")
    long = written(tmp_path / "long", train_dot_py="#" * (200 << 10), model__layers_dot_py="#" * (200 << 10))
    assert "bytes together" in why(long)


def test_of_a_single_file_a_folder_will_do_too(home: Home, tmp_path: Path) -> None:
    suggest(
        home, "Deeper", "--edit", str(written(tmp_path / "mine", train_dot_py=BEST.replace("DEPTH = 2", "DEPTH = 3")))
    )
    assert len(taken(home)) == 1


def test_a_copy_with_other_line_ends_is_near_its_original(home: Home, tmp_path: Path) -> None:
    copied = BASELINE.replace("DEPTH = 2", "DEPTH = 3").replace("\n", "\r\n")
    suggest(home, "Deeper", "--edit", str(written(tmp_path / "mine", edited_dot_py=copied) / "edited.py"))
    (record,) = taken(home)
    ledger = Ledger.read(home.ledger)
    assert isinstance(record.body, Hypothesis)
    assert ledger.get_blob(record.body.base or b"") == BASELINE.encode()
    assert ledger.get_blob(record.body.edit or b"") == copied.encode()
    ledger.close()
