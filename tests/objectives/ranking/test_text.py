"""The collections: docstrings of files that are named when they differ, cut so that no part says what another lacks."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from node.authoring.check_hidden import needed_by_runs
from tests.objectives.nanolm.test_text import needed_by_a_node
from tests.objectives.ranking.small_collections import RANKING, SOURCES, load, small_data

prepare = load("prepare")
SETTINGS = tomllib.loads((RANKING / "objective.toml").read_text())
CODE = '''
def first():
    """Return the size of the pool that is shared by all.

    The number of connections is counted anew each time, which takes a while. The result is a whole number.

    :param now: whether to count, or to return what was counted before.
    """
'''


def test_a_changed_file_is_named_with_its_package_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare.sysconfig, "get_path", lambda name: str(tmp_path))
    package = next(package for package in SOURCES if package.startswith("alembic"))
    (tmp_path / "alembic").mkdir()
    (tmp_path / "alembic" / "one.py").write_text(CODE)
    manifest = {package: {"alembic/one.py": hashlib.sha256(CODE.encode()).hexdigest()}}
    assert list(prepare.read(manifest)) == [("alembic/one.py", CODE)]
    (tmp_path / "alembic" / "one.py").write_text(CODE + "#")
    with pytest.raises(prepare.Unlike, match=r"alembic/one\.py is not as alembic==\S+ brings it.*pip install"):
        list(prepare.read(manifest))


def test_all_text_is_hidden_from_runs_and_none_of_it_is_what_runs_need() -> None:
    folders = {path.partition("/")[0] for files in SOURCES.values() for path in files}
    assert folders == set(SETTINGS["hidden"])
    assert not folders & needed_by_runs()


def test_the_packages_have_the_pinned_versions_and_are_on_every_node() -> None:
    pins = {line.strip().lower() for line in (RANKING.parents[1] / "constraints.txt").read_text().splitlines()}
    needed = needed_by_a_node()
    for package in SOURCES:
        assert package.lower() in pins, f"{package}: run scripts/ranking_sources.py after a pin has changed"
        assert canonicalize_name(package.partition("==")[0]) in needed


def test_sentences_are_asked_and_nothing_else() -> None:
    (docstring,) = prepare.docstrings_of(CODE)
    pieces = prepare.PIECE.findall(docstring)
    assert "".join(pieces) == docstring
    document = {"pieces": pieces}
    repeated = prepare.Counter(prepare.key_of(piece) for piece in pieces)
    asked = [piece.strip() for n, piece in enumerate(pieces) if prepare.asked(piece, n, document, repeated)]
    assert asked == [
        "Return the size of the pool that is shared by all.",
        "The number of connections is counted anew each time, which takes a while.",
        "The result is a whole number.",
    ]


def test_a_sentence_whose_words_stand_elsewhere_or_that_occurs_twice_is_not_asked() -> None:
    sentence = "Return the size of the pool."
    copied = {"pieces": [f"{sentence}\n\n", "Will return the size of the pool that is shared. "]}
    assert not prepare.asked(sentence, 0, copied, prepare.Counter())
    alone = {"pieces": [sentence, "What follows."]}
    assert prepare.asked(sentence, 0, alone, prepare.Counter())
    assert not prepare.asked(sentence, 0, alone, prepare.Counter([prepare.key_of(sentence)] * 2))


def test_a_copy_of_a_docstring_is_left_out() -> None:
    seen: set[bytes] = set()
    words = [f"word{number}" for number in range(60)]
    assert not prepare.copied(words, seen)
    assert prepare.copied(["async", *words], seen)
    assert not prepare.copied([f"other{number}" for number in range(60)], seen)


def test_indentation_goes_and_what_stands_deeper_keeps_its_own() -> None:
    text = 'class A:\n    """First.\n\n    Second::\n\n        code\t1  \n    """\n'
    tree = prepare.ast.parse(text)
    assert prepare.docstring_of(tree.body[0]) == "First.\n\nSecond::\n\n    code 1"
    assert prepare.docstring_of(tree) == ""


def test_files_are_for_one_use_each() -> None:
    files = [{document["file"] for document in json.loads(content)} for content in small_data().values()]
    assert all(files)
    assert not any(one & other for n, one in enumerate(files) for other in files[:n])
