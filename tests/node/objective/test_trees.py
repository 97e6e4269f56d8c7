"""Several files are one text, written in one way, and whatever else claims to be a tree is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from node.objective.trees import (
    FIRST_LINE,
    MAX_FILES,
    MAX_SOURCE_CHARACTERS,
    TreeError,
    files_of,
    is_safe,
    is_tree,
    pack,
    source_of,
    unpack,
)
from protocol.objective import safe_path

FILES = {"train.py": "import layers\n", "layers.py": "WIDTH = 64\n", "kernels/add.cu": "// é, no line end"}

names = st.text("ab =.é", min_size=1, max_size=4)
paths = st.lists(names, min_size=1, max_size=3).map("/".join).filter(is_safe)
texts = st.text(max_size=40) | st.sampled_from(["=== a 3\nabc\n", FIRST_LINE, "\r\n", "\n=== ", ""])


def a_tree_can_hold(files: dict[str, str]) -> bool:
    return not any(other.startswith(f"{path}/") for path in files for other in files)


trees = st.dictionaries(paths, texts.filter(lambda text: text.isascii() or _is_text(text)), min_size=1, max_size=6)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@given(trees.filter(a_tree_can_hold))
@example(FILES)
def test_files_come_back_as_they_were(files: dict[str, str]) -> None:
    packed = pack(files)

    assert is_tree(packed)
    assert unpack(packed) == files
    assert pack(dict(reversed(files.items()))) == packed  # their order does not matter


def test_a_tree_is_written_like_this() -> None:
    assert pack({"b.py": "é\n", "a/b.txt": ""}) == "autoresearch tree 1\n=== a/b.txt 0\n\n=== b.py 3\né\n\n"


@given(trees.filter(a_tree_can_hold), st.data())
def test_a_tree_with_any_change_is_another_tree_or_none(files: dict[str, str], data: st.DataObject) -> None:
    packed = pack(files)
    begin = data.draw(st.integers(0, len(packed)))
    end = data.draw(st.integers(begin, len(packed)))
    changed = packed[:begin] + data.draw(st.text("=ab 019\n/.é", max_size=4)) + packed[end:]

    try:
        found = unpack(changed)
    except TreeError:
        return
    assert pack(found) == changed
    assert (found == files) == (changed == packed)


@given(st.text(max_size=80))
def test_no_other_text_is_a_tree(text: str) -> None:
    with pytest.raises(TreeError):
        unpack(text)


@given(st.text(max_size=12) | st.lists(st.sampled_from(["a", "..", ".", "", "b.py", "é"])).map("/".join))
@example("a" * 201)
@example("c:\\x")
@example("a\u202eb")
@example("\udc80")
def test_paths_are_those_that_an_objective_may_have(path: str) -> None:
    assert is_safe(path) == safe_path(path)


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param("", id="no file at all"),
        pytest.param("=== a.py 1\nx", id="the end is missing"),
        pytest.param("=== a.py 2\nx\n", id="a length beyond the end"),
        pytest.param("=== a.py 0\nx\n", id="a length that is too small"),
        pytest.param("=== a.py 01\nx\n", id="a leading zero"),
        pytest.param("=== a.py +1\nx\n", id="a sign"),
        pytest.param("=== a.py ¹\nx\n", id="a digit that is none"),
        pytest.param("=== a.py 99999999999999999999\nx\n", id="an absurd length"),
        pytest.param("=== a.py\nx\n", id="no length"),
        pytest.param("=== a.py 1\nx\n\n", id="something behind the last file"),
        pytest.param("== a.py 1\nx\n", id="another mark"),
        pytest.param("=== b.py 1\nx\n=== a.py 1\nx\n", id="out of order"),
        pytest.param("=== a.py 1\nx\n=== a.py 1\nx\n", id="a path twice"),
        pytest.param("=== a 1\nx\n=== a/b 1\nx\n", id="a file that is a folder too"),
        pytest.param("=== ../a.py 1\nx\n", id="out of the folder"),
        pytest.param("=== /a.py 1\nx\n", id="absolute"),
        pytest.param("===  1\nx\n", id="no path"),
        pytest.param("=== a.py 1\né\n", id="a length in the middle of a character"),
    ],
)
def test_a_malformed_tree_is_refused(rest: str) -> None:
    with pytest.raises(TreeError):
        unpack(FIRST_LINE + rest)


def test_a_tree_has_limits() -> None:
    with pytest.raises(TreeError, match=f"1 to {MAX_FILES} files"):
        pack({})
    with pytest.raises(TreeError, match=f"1 to {MAX_FILES} files"):
        pack({f"{number}.py": "" for number in range(MAX_FILES + 1)})
    with pytest.raises(TreeError, match=f"at most {MAX_FILES} files"):
        unpack(FIRST_LINE + "".join(f"=== {number:03}.py 0\n\n" for number in range(MAX_FILES + 2)))
    with pytest.raises(TreeError, match="bytes together"):
        pack({"a.py": "x" * MAX_SOURCE_CHARACTERS})
    with pytest.raises(TreeError, match="no text"):
        pack({"a.py": "\udc80"})
    with pytest.raises(TreeError, match="file and a folder"):
        pack({"a": "", "a/b": ""})
    with pytest.raises(TreeError, match="no relative path"):
        pack({"../a": ""})


def test_one_editable_file_is_its_text_and_several_are_a_tree() -> None:
    text = pack(FILES)  # even a text that looks like a tree
    assert files_of(text, ["train.py"]) == {"train.py": text}
    assert source_of({"train.py": text}) == text

    assert list(files_of(text, list(FILES))) == list(FILES)
    assert source_of(FILES) == text
    with pytest.raises(TreeError, match=r"not train.py, layers.py"):
        files_of(text, ["train.py", "layers.py"])
    with pytest.raises(TreeError, match="a tree begins with"):
        files_of("RATE = 1\n", list(FILES))
