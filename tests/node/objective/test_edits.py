"""An edit names what it changes, so it still applies when something else was changed before it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.objective import sources
from node.objective.edits import (
    AddDefinition,
    Edit,
    EditError,
    NotOnceError,
    ReplaceDefinition,
    ReplaceInFile,
    ReplaceText,
    SetConstant,
    apply,
    constants,
    fingerprint,
    names_read,
    parse_edit,
    replace_once,
)


def changes_nothing(source: str, child: str, idle: frozenset[str]) -> bool:
    return sources.changes_nothing({"train.py": source}, {"train.py": child}, idle)


SOURCE = '''"""A script — with more than ASCII."""

RATE = 1e-3  # the learning rate
NAMES = ("é", "ü"); DEPTH = 2


def wrapped(function):
    return function


@wrapped
def make(width):
    # why it is so
    return width


class Model:
    def forward(self, x):
        y = x + 1
        return y
'''


def test_a_constant_gets_another_value_and_all_else_stays() -> None:
    assert apply(SOURCE, [SetConstant("RATE", "2e-3")]) == SOURCE.replace("1e-3", "2e-3")
    assert apply(SOURCE, [SetConstant("DEPTH", "4")]) == SOURCE.replace("DEPTH = 2", "DEPTH = 4")
    assert apply("LIST = [\n    1,\n]\n", [SetConstant("LIST", "()")]) == "LIST = ()\n"


def test_a_function_is_replaced_with_its_decorators() -> None:
    changed = apply(SOURCE, [ReplaceDefinition("make", "def make(width):\n    return 2 * width")])
    assert "@wrapped" not in changed
    assert changed.endswith(SOURCE[SOURCE.index("\n\nclass Model") :])
    assert "def make(width):\n    return 2 * width\n" in changed


def test_a_method_keeps_its_place_in_the_class() -> None:
    changed = apply(SOURCE, [ReplaceDefinition("Model.forward", "def forward(self, x):\n    return -x\n")])
    assert changed.endswith("class Model:\n    def forward(self, x):\n        return -x\n")


def test_a_definition_is_added_before_another() -> None:
    changed = apply(SOURCE, [AddDefinition("def helper():\n    pass", "make")])
    assert changed.index("def helper") < changed.index("@wrapped\ndef make")
    assert "    pass\n\n\n@wrapped" in changed


def test_text_is_replaced_inside_one_definition_only() -> None:
    twice = SOURCE + "\n\ndef other(x):\n    y = x + 1\n    return y\n"
    changed = apply(twice, [ReplaceText("Model.forward", "x + 1", "x + 2")])
    assert changed.count("x + 2") == 1
    assert changed.count("x + 1") == 1


def test_edits_apply_after_other_edits() -> None:
    edits: list[Edit] = [
        AddDefinition("EXTRA = 1", "wrapped"),
        SetConstant("EXTRA", "2"),
        ReplaceDefinition("make", "def make(width):\n    return width * EXTRA"),
        ReplaceText("make", "width * EXTRA", "width + EXTRA"),
        SetConstant("RATE", "5e-4"),
    ]
    values: dict[str, object] = {}
    exec(apply(SOURCE, edits), values)
    assert (values["EXTRA"], values["RATE"], values["make"](3)) == (2, 5e-4, 5)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (SetConstant("MISSING", "1"), "0 constants named MISSING"),
        (SetConstant("RATE", "1 +"), "does not parse"),
        (ReplaceDefinition("missing", "def missing(): pass"), "0 definitions of missing"),
        (ReplaceDefinition("Model.missing", "def missing(): pass"), "0 definitions of Model.missing"),
        (ReplaceDefinition("make", "def make(:"), "does not parse"),
        (AddDefinition("def make(): pass", "wrapped"), "already has make"),
        (AddDefinition("RATE = 2", "wrapped"), "already has RATE"),
        (ReplaceText("make", "width", "height"), "2 times"),
        (ReplaceText("make", "depth", "height"), "0 times"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused_with_the_reason(edit: Edit, said: str) -> None:
    with pytest.raises(EditError, match=said):
        apply(SOURCE, [edit])


@pytest.mark.parametrize("hostile", ["\0", "(" * 10_000, "-" * 200_000 + "1", "x = " + "9" * 5000, "def f(:"])
def test_text_that_is_no_program_is_refused_and_has_a_fingerprint(hostile: str) -> None:
    with pytest.raises(EditError):
        apply(hostile, [SetConstant("RATE", "1")])
    with pytest.raises(EditError):
        names_read(hostile)
    assert not changes_nothing(hostile, SOURCE, frozenset({"RATE"}))
    assert len(fingerprint(hostile)) == 32


def test_an_edit_finds_its_lines_where_python_counts_them() -> None:
    """A form feed, and a line separator in a text, end no line of a program."""
    source = 'A = "\x0c\u2028"\n\x0c\nRATE = 1\r\n\r\n\r\ndef f():\r\n    return 1\r\n'
    assert apply(source, [SetConstant("RATE", "2")]) == source.replace("RATE = 1", "RATE = 2")
    assert apply(source, [ReplaceText("f", "return 1", "return 2")]) == source.replace("return 1", "return 2")


def test_what_is_put_in_has_the_line_ends_of_its_file() -> None:
    source = SOURCE.replace("\n", "\r\n")
    edits: list[Edit] = [
        ReplaceDefinition("make", "def make(width):\n    return 2 * width\n"),
        ReplaceText("Model.forward", "y = x + 1\n        return y", "return x\n        # so"),
        AddDefinition("def act(x):\n    return x", "Model"),
    ]
    assert apply(source, edits) == apply(SOURCE, edits).replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("text", "old", "expected"),
    [
        pytest.param("a\nx = 1\nb\n", "x = 1", "a\nNEW\nb\n", id="as it is"),
        pytest.param("a\r\nx = 1\r\nb\r\n", "a\nx = 1\n", "NEWb\r\n", id="CRLF in the file"),
        pytest.param("a\nx = 1\nb\n", "a\r\nx = 1\r\n", "NEWb\n", id="CRLF in the edit"),
        pytest.param("a \nx = 1\nb\n", "a\nx = 1", "NEW\nb\n", id="space in the file"),
        pytest.param("a\nx = 1\nb\n", "a \nx = 1 ", "NEW\nb\n", id="space in the edit"),
        pytest.param("x = 10\nx = 1\n", "x = 1 ", "x = 10\nNEW\n", id="space in the edit is no other word"),
        pytest.param("x = 10\n", "x = 1 ", 0, id="space in the edit is not the beginning of another word"),
        pytest.param("a\n\nb \n", "a\n\nb\n", "NEW", id="to the end"),
        pytest.param("x\nx\n", "x", 2, id="twice"),
        pytest.param("x \ny\nx\t\ny\n", "x\ny", 2, id="twice but for space"),
        pytest.param("x\n", "y", 0, id="nowhere"),
        pytest.param("x\n", "", 0, id="nothing"),
        pytest.param("x\n", "  ", 0, id="space alone"),
    ],
)
def test_text_is_replaced_where_it_stands_once(text: str, old: str, expected: str | int) -> None:
    if isinstance(expected, str):
        assert replace_once(text, old, "NEW") == expected
    else:
        with pytest.raises(NotOnceError, match=f"occurs {expected} times"):
            replace_once(text, old, "NEW")


@given(st.text("ab \t\r\n", max_size=12), st.text("ab \t\r\n", max_size=5))
def test_replacing_text_keeps_all_that_stands_around_it(text: str, old: str) -> None:
    try:
        changed = replace_once(text, old, "NEW")
    except NotOnceError:
        return
    before, _, after = changed.partition("NEW")
    assert text.startswith(before)
    assert text.endswith(after)
    pieces = [text[len(before) : len(text) - len(after)], old]
    if not after:  # what is empty at the end of a file makes no difference either
        pieces = [piece.rstrip() for piece in pieces]
    replaced, wanted = ([line.rstrip() for line in piece.split("\n")] for piece in pieces)
    assert replaced == wanted


def test_replacing_text_takes_time_in_proportion_to_its_length() -> None:
    begun = time.process_time()
    with pytest.raises(NotOnceError):
        replace_once("x \n" * 80_000, "x\n" * 40_000 + "y", "")
    assert time.process_time() - begun < 2


def test_a_source_without_bounds_is_refused() -> None:
    with pytest.raises(EditError, match="longer than"):
        apply("#" * (1 << 19), [])


def test_an_edit_from_a_file_is_checked_when_it_is_read() -> None:
    assert parse_edit({"kind": "constant", "name": "RATE", "value": " 1 "}) == SetConstant("RATE", "1")
    assert parse_edit({"kind": "add", "code": "X = 1", "before": "make"}) == AddDefinition("X = 1", "make")
    with pytest.raises(EditError, match='needs the text field "value"'):
        parse_edit({"kind": "constant", "name": "RATE", "value": 1})
    assert parse_edit({"kind": "text", "old": "1", "new": "2", "file": "a.cu"}) == ReplaceInFile("1", "2", "a.cu")
    with pytest.raises(EditError, match='needs the text field "file"'):
        parse_edit({"kind": "text", "old": "1", "new": "2", "file": None})
    with pytest.raises(EditError, match="not 'erase'"):
        parse_edit({"kind": "erase"})


def test_the_fingerprint_sees_the_program_and_not_its_layout() -> None:
    looks = SOURCE.replace("# why it is so", "# another reason").replace("x + 1", "(x+1)")
    looks = looks.replace("    def forward", '    """Words."""\n\n    def forward')
    assert looks != SOURCE
    assert fingerprint(looks) == fingerprint(SOURCE)
    assert fingerprint(SOURCE.replace("x + 1", "x + 2")) != fingerprint(SOURCE)
    assert fingerprint(SOURCE.replace("1e-3", "2e-3")) != fingerprint(SOURCE)


def test_constants_are_the_uppercase_names_with_plain_values() -> None:
    found = constants("A = 1\nB = A + 1\nc = 3\nD, E = 1, 2\nF = (0.9, 0.95)\nG = -2.5\n")
    assert [(constant.name, constant.value) for constant in found] == [("A", 1), ("F", (0.9, 0.95)), ("G", -2.5)]


def test_a_constant_is_read_where_something_else_names_it() -> None:
    source = '"""IDLE"""\nRATE = 1\nIDLE = 2  # IDLE\nTOLD = 3\n\n\ndef f():\n    return RATE, "TOLD"\n'
    assert names_read(source) == {"RATE", "TOLD"}


def test_a_change_of_what_nothing_reads_any_more_changes_nothing() -> None:
    source = "IDLE = 1\nRATE = 1\n\n\ndef f():\n    return RATE\n"
    idle = frozenset({"IDLE"})
    assert changes_nothing(source, source + "# words\n", idle)
    assert changes_nothing(source, source.replace("IDLE = 1", "IDLE = 2"), idle)
    assert not changes_nothing(source, source.replace("IDLE = 1", "IDLE = 2"), frozenset())
    assert not changes_nothing(source, source.replace("RATE = 1", "RATE = 2"), idle)
    assert not changes_nothing(source, source.replace("return RATE", "return IDLE"), idle)
    assert not changes_nothing(source, "def f(:", idle)
    assert changes_nothing(source, source + "# words\n", frozenset())
    computed = source.replace("IDLE = 1", "IDLE = 2 * RATE").replace("return RATE", "return IDLE")
    assert names_read(computed) == {"RATE", "IDLE"}
    assert not changes_nothing(computed, computed.replace("2 * RATE", "3 * RATE"), idle)


def test_a_byte_order_mark_is_no_part_of_a_program() -> None:
    assert fingerprint("\ufeffRATE = 1\n") == fingerprint("RATE = 1\n")
    assert apply("\ufeffRATE = 1\n", [SetConstant("RATE", "2")]) == "RATE = 2\n"
