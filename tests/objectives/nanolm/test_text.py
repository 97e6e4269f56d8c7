"""The text: the same bytes everywhere, made of files that are named when they differ."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.objectives.nanolm.objective_files import NANOLM, load

prepare = load("prepare")
ROOT = NANOLM.parents[1]
SOURCES = json.loads((NANOLM / "sources.json").read_text())
CODE = (
    b'"""A module."""\n\nimport os\n\n\ndef add(first, second):\n    return first + second  # caf\xc3\xa9 12345\n' * 40
)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages with one file of numpy's, as its manifest has it."""
    monkeypatch.setattr(prepare.sysconfig, "get_path", lambda name: str(tmp_path))
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "core.py").write_bytes(CODE)
    return tmp_path


def manifest(version: str | None = None) -> dict[str, dict[str, str]]:
    package = f"numpy=={version or metadata.version('numpy')}"
    return {package: {"numpy/core.py": hashlib.sha256(CODE).hexdigest()}}


@pytest.fixture(scope="module")
def encoding() -> Any:
    return small_encoding()


def small_encoding() -> Any:
    module = load("prepare")
    module.VOCABULARY = 300
    return module.Encoding(Counter(module.WORDS.findall(CODE)))


# ---- files -----------------------------------------------------------------------------------------------------------


def test_files_that_are_as_the_manifest_says_are_read(installed: Path) -> None:
    assert list(prepare.read(manifest())) == [("numpy/core.py", CODE)]


def test_a_changed_file_is_named_with_its_package_and_what_to_do(installed: Path) -> None:
    (installed / "numpy" / "core.py").write_bytes(CODE + b"#")
    with pytest.raises(prepare.Unlike, match=r"numpy/core\.py is not as numpy==\S+ brings it.*pip install"):
        list(prepare.read(manifest()))


def test_a_missing_file_is_named(installed: Path) -> None:
    (installed / "numpy" / "core.py").unlink()
    with pytest.raises(prepare.Unlike, match=r"^numpy/core\.py of numpy==\S+ is missing.*--force-reinstall"):
        list(prepare.read(manifest()))


def test_another_version_is_named_before_any_file(installed: Path) -> None:
    (installed / "numpy" / "core.py").unlink()
    with pytest.raises(prepare.Unlike, match=r"^numpy \S+ is installed; the text is made of numpy==0\.1\.2"):
        list(prepare.read(manifest("0.1.2")))


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(prepare.Unlike, match=r"^no-such-thing==1 is not installed"):
        list(prepare.read({"no-such-thing==1": {"no_such_thing.py": "00"}}))


def test_all_files_are_here_as_the_manifest_has_them() -> None:
    for use in ("train", "hidden"):
        assert sum(len(text) for _, text in prepare.read(SOURCES[use])) > 15_000_000


def test_no_package_is_trained_on_and_scored() -> None:
    assert not set(SOURCES["train"]) & set(SOURCES["hidden"])


def test_all_that_is_scored_is_hidden_from_runs() -> None:
    hidden = tomllib.loads((NANOLM / "objective.toml").read_text())["hidden"]
    scored = {path.partition("/")[0] for files in SOURCES["hidden"].values() for path in files}
    assert scored == set(hidden)
    assert not {path.partition("/")[0] for files in SOURCES["train"].values() for path in files} & scored


def test_the_packages_have_the_pinned_versions() -> None:
    pins = {line.strip().lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    for package in (*SOURCES["train"], *SOURCES["hidden"]):
        assert package.lower() in pins, f"{package}: run scripts/nanolm_sources.py after a pin has changed"


def test_a_node_that_was_set_up_without_what_tests_need_has_every_package() -> None:
    needed = needed_by_a_node()
    for package in (*SOURCES["train"], *SOURCES["hidden"]):
        name = package.partition("==")[0]
        assert canonicalize_name(name) in needed, f"{name} comes with the tests' packages only"


def needed_by_a_node() -> set[str]:
    """The names of all that set-up installs for a node: what it requires, and what that requires."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted: list[str] = list(project["project"]["dependencies"])
    found: set[str] = set()
    while wanted:
        requirement = Requirement(wanted.pop())
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        try:
            wanted += metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # of another platform
            continue
    return found


def test_a_passage_that_was_seen_is_left_out() -> None:
    long = b"def f():\n    return " + b"x" * 300
    seen: set[bytes] = set()
    assert prepare.passages_once(b"# one\n\n" + long, seen) == b"# one\n\n" + long
    assert prepare.passages_once(b"# two\n\n" + long + b"\n\nend", seen) == b"# two\n\nend"


# ---- tokens ----------------------------------------------------------------------------------------------------------


def test_tokens_say_the_same_bytes(encoding: Any) -> None:
    for text in (CODE, b"\0" + CODE, bytes(range(1, 256)) * 3, b"a", b"\n\n\n   \t\r\n  x"):
        tokens = encoding.encode(text)
        assert b"".join(encoding.tokens[token] for token in tokens) == text


def test_common_words_become_single_tokens(encoding: Any) -> None:
    assert len(encoding.encode(CODE)) < len(CODE) / 2.5
    assert b" first" in encoding.tokens


def test_a_file_begins_with_a_token_that_no_other_token_holds(encoding: Any) -> None:
    assert next(iter(encoding.encode(b"\0import os\n"))) == 0
    assert [token for token in encoding.tokens if b"\0" in token] == [b"\0"]


def test_a_word_is_cut_the_same_whether_it_was_learnt_from_or_not(encoding: Any) -> None:
    for word, split in encoding.known.items():
        again = type(encoding).__new__(type(encoding))
        again.known, again.ranks, again.tokens = {}, encoding.ranks, encoding.tokens
        assert again.tokens_of(word) == split


def test_the_encoding_depends_on_no_order_of_a_set() -> None:
    program = (
        "import hashlib, sys; sys.path.insert(0, '.')\n"
        "from tests.objectives.nanolm.test_text import small_encoding\n"
        "print(hashlib.sha256(b' '.join(small_encoding().tokens)).hexdigest())"
    )
    found = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            cwd=NANOLM.parents[1],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_the_table_has_the_bytes_of_as_many_tokens_as_are_declared() -> None:
    table = np.frombuffer((NANOLM / "token_bytes.u8").read_bytes(), dtype=np.uint8)
    assert len(table) == tomllib.loads((NANOLM / "objective.toml").read_text())["task"]["vocabulary"]
    assert table[:256].tolist() == [1] * 256
    assert table[256:].min() > 1
