"""What a source of several files says, and how it is edited: Python by its names, any other file by its text."""

from __future__ import annotations

import hashlib

import pytest

from node.objective import edits
from node.objective.edits import (
    AddDefinition,
    Edit,
    EditError,
    ReplaceDefinition,
    ReplaceInFile,
    ReplaceText,
    SetConstant,
    edit_fields,
    parse_edit,
)
from node.objective.sources import (
    Files,
    apply,
    changes_nothing,
    changes_only_chance,
    constants,
    fingerprint,
    names_read,
    overrides_seed,
    read,
    seed_constants,
)
from node.objective.trees import pack

TRAIN = '''"""Trains."""

import torch

from layers import WIDTH, Block
from settings import SEED

RATE = 1e-3
IDLE = 4


def train(task):
    torch.manual_seed(SEED)
    return Block(WIDTH), RATE
'''
LAYERS = """WIDTH = 64
DROPOUT = 0.1


class Block:
    def __init__(self, width):
        self.width = width
"""
KERNEL = "// adds\n#define TILE 32\nfloat add(float a, float b) { return a + b; }\n"
FILES = {"train.py": TRAIN, "layers.py": LAYERS, "settings.py": "SEED = 1\n", "kernels/add.cu": KERNEL}


def changed(path: str, old: str, new: str) -> dict[str, str]:
    assert old in FILES[path]
    return {**FILES, path: FILES[path].replace(old, new)}


def test_a_source_is_read_as_the_files_of_its_objective() -> None:
    assert read(pack(FILES), list(FILES)) == FILES
    assert read(pack(FILES)) == FILES  # by its first line
    assert read(TRAIN, ["train.py"]) == {"train.py": TRAIN}
    assert list(read(TRAIN).values()) == [TRAIN]
    with pytest.raises(EditError, match="not the objective's files"):
        read(pack(FILES), ["train.py", "layers.py"])
    with pytest.raises(EditError, match="not the objective's files"):
        read(TRAIN, list(FILES))


def test_the_fingerprint_of_one_python_file_is_that_of_its_syntax_tree() -> None:
    assert fingerprint({"train.py": TRAIN}) == edits.fingerprint(TRAIN)
    assert fingerprint({"model.py": TRAIN}) == edits.fingerprint(TRAIN)  # whatever it is called


def test_the_fingerprint_of_another_file_is_that_of_its_text() -> None:
    assert fingerprint({"add.cu": "a\nb"}) == hashlib.sha256(b"a\nb").digest()
    assert fingerprint({"add.cu": "a \r\nb\t\r\n\r\n"}) == fingerprint({"add.cu": "a\nb"})
    assert fingerprint({"add.cu": " a\nb"}) != fingerprint({"add.cu": "a\nb"})
    assert fingerprint({"add.cu": "# a\n"}) != fingerprint({"add.cu": "# b\n"})  # a comment, in some languages


def test_the_fingerprint_of_several_sees_each_file_and_where_it_stands() -> None:
    looks = {**changed("train.py", '"""Trains."""', "# words"), "kernels/add.cu": KERNEL.replace("\n", " \r\n")}
    assert fingerprint(looks) == fingerprint(FILES)
    assert fingerprint(dict(reversed(FILES.items()))) == fingerprint(FILES)
    moved = {("model.py" if path == "layers.py" else path): text for path, text in FILES.items()}
    swapped = {**FILES, "train.py": LAYERS, "layers.py": TRAIN}
    others = [changed("layers.py", "64", "65"), changed("kernels/add.cu", "adds", "sums"), moved, swapped]
    assert len({fingerprint(files) for files in [FILES, *others]}) == 5


def test_an_edit_goes_to_the_one_file_that_has_what_it_names() -> None:
    assert apply(FILES, [SetConstant("WIDTH", "32")]) == changed("layers.py", "64", "32")
    assert apply(FILES, [ReplaceText("train", "Block(WIDTH)", "None")]) == changed("train.py", "Block(WIDTH)", "None")
    assert apply(FILES, [ReplaceInFile("TILE 32", "TILE 64")]) == changed("kernels/add.cu", "TILE 32", "TILE 64")
    both = apply(FILES, [AddDefinition("DEPTH = 2", "Block"), ReplaceText("train", "RATE", "DEPTH")])
    assert "DEPTH = 2" in both["layers.py"]
    with pytest.raises(EditError, match=r"fits no file: train.py: .* 0 constants named NONE; layers.py"):
        apply(FILES, [SetConstant("NONE", "1")])


def test_an_edit_that_fits_several_files_has_to_name_one() -> None:
    both = {**FILES, "layers.py": "RATE = 2\n" + LAYERS}
    with pytest.raises(EditError, match=r"several files, train.py, layers.py; name one of them under \"file\""):
        apply(both, [SetConstant("RATE", "1")])
    assert apply(both, [SetConstant("RATE", "1", "layers.py")]) == {**both, "layers.py": "RATE = 1\n" + LAYERS}
    with pytest.raises(EditError, match=r"no file 'judge.py' that may be edited"):
        apply(both, [SetConstant("RATE", "1", "judge.py")])


def test_only_text_is_edited_in_a_file_that_is_not_python() -> None:
    with pytest.raises(EditError, match=r'is not Python, .* kind "text"'):
        apply(FILES, [ReplaceDefinition("add", "int add();", "kernels/add.cu")])
    with pytest.raises(EditError, match=r"layers.py: the source does not parse"):
        apply(FILES, [ReplaceInFile("class Block:", "class:")])
    assert apply({"add.cu": KERNEL}, [ReplaceInFile("a + b", "b + a")])["add.cu"] == KERNEL.replace("a + b", "b + a")


def test_an_edit_survives_its_table() -> None:
    some: list[Edit] = [SetConstant("A", "1"), SetConstant("A", "1", "a.py"), ReplaceInFile("a", "b")]
    others: list[Edit] = [ReplaceText("f", "", ""), ReplaceDefinition("f", ""), AddDefinition("", "f", "a.py")]
    for edit in some + others:
        assert parse_edit(edit_fields(edit)) == edit


def test_constants_are_called_by_their_file_only_where_two_files_have_one() -> None:
    assert [each.name for each in constants(FILES)] == ["RATE", "IDLE", "WIDTH", "DROPOUT", "SEED"]
    both = {**FILES, "layers.py": "RATE = 2\n" + LAYERS}
    found = {each.name: each for each in constants(both)}
    assert list(found) == ["train.py:RATE", "IDLE", "layers.py:RATE", "WIDTH", "DROPOUT", "SEED"]
    assert apply(both, [found["layers.py:RATE"].set_to("3")])["layers.py"] == "RATE = 3\n" + LAYERS
    assert apply(both, [found["WIDTH"].set_to("3")])["layers.py"] == "RATE = 2\n" + LAYERS.replace("64", "3")
    assert [each.file for each in constants({"train.py": TRAIN})] == [None, None]
    assert constants({"add.cu": "A = 1\n"}) == []


def test_a_constant_is_read_where_any_file_mentions_it() -> None:
    assert names_read(FILES) == {"RATE", "WIDTH", "SEED"}
    by_attribute = changed("train.py", "Block(WIDTH)", "Block(layers.DROPOUT)")
    assert names_read(by_attribute) == {"RATE", "WIDTH", "SEED", "DROPOUT"}
    by_a_script = {**FILES, "run.sh": "sed -i 's/IDLE = 4/IDLE = 8/' train.py\n"}
    assert names_read(by_a_script) == {"RATE", "WIDTH", "SEED", "IDLE"}
    assert names_read({"add.cu": "A = 1; A"}) == frozenset()


def test_a_change_of_what_no_file_reads_changes_nothing() -> None:
    idle = frozenset({"IDLE"})
    assert changes_nothing(FILES, changed("train.py", "IDLE = 4", "IDLE = 5"), idle)
    assert not changes_nothing(FILES, changed("train.py", "IDLE = 4", "IDLE = 5"))
    assert not changes_nothing(FILES, changed("kernels/add.cu", "32", "64"), idle)
    assert changes_nothing(FILES, changed("kernels/add.cu", "adds", "adds  "), idle)
    assert not changes_nothing(FILES, {"train.py": TRAIN}, idle)
    read_by_another = {
        **changed("train.py", "IDLE = 4", "IDLE = 5"),
        "layers.py": LAYERS + "import train\ntrain.IDLE\n",
    }
    assert not changes_nothing(FILES, read_by_another, idle)


def test_a_seed_is_followed_from_file_to_file() -> None:
    assert seed_constants(FILES) == {"SEED"}
    assert changes_only_chance(FILES, changed("settings.py", "SEED = 1", "SEED = 2"))
    assert not changes_only_chance(FILES, changed("train.py", "1e-3", "2e-3"))
    assert not changes_only_chance(FILES, changed("kernels/add.cu", "32", "64"))
    assert overrides_seed(FILES)
    assert not overrides_seed(changed("layers.py", "self.width = width", "self.width = task.seed"))


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"layers.py": LAYERS + "import settings\nHEADS = settings.SEED\n"}, id="as an attribute"),
        pytest.param({"layers.py": LAYERS + "from settings import SEED as HEADS\nHEADS * 2\n"}, id="renamed"),
        pytest.param({"layers.py": LAYERS + "from settings import *\nBlock(SEED)\n"}, id="with everything else"),
        pytest.param({"run.sh": "grep SEED settings.py\n"}, id="by a script"),
    ],
)
def test_what_another_file_does_more_with_is_no_seed(more: Files) -> None:
    assert seed_constants({**FILES, **more}) == frozenset()


def test_seeds_of_the_same_name_are_called_by_their_files() -> None:
    both = {**FILES, "layers.py": "import random\nSEED = 3\nrandom.seed(SEED)\n" + LAYERS}
    assert seed_constants(both) == {"settings.py:SEED", "layers.py:SEED"}


@pytest.mark.parametrize("hostile", ["\0", "(" * 10_000, "def f(:"])
def test_a_tree_with_a_file_that_is_no_program_says_which(hostile: str) -> None:
    files = {**FILES, "layers.py": hostile}
    for ask in (constants, names_read, seed_constants):
        with pytest.raises(EditError, match=r"^layers\.py: "):
            ask(files)
    assert not changes_nothing(files, FILES, frozenset({"RATE"}))
    assert not changes_only_chance(files, FILES)
    assert len(fingerprint(files)) == 32
