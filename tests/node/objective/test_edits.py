"""An edit names what it changes, so it still applies when something else was changed before it."""

from __future__ import annotations

import pytest

from node.objective.edits import (
    AddDefinition,
    Edit,
    EditError,
    ReplaceDefinition,
    ReplaceText,
    SetConstant,
    apply,
    changes_nothing,
    constants,
    fingerprint,
    names_read,
    parse_edit,
)

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


def test_a_source_without_bounds_is_refused() -> None:
    with pytest.raises(EditError, match="longer than"):
        apply("#" * (1 << 19), [])


def test_an_edit_from_a_file_is_checked_when_it_is_read() -> None:
    assert parse_edit({"kind": "constant", "name": "RATE", "value": " 1 "}) == SetConstant("RATE", "1")
    assert parse_edit({"kind": "add", "code": "X = 1", "before": "make"}) == AddDefinition("X = 1", "make")
    with pytest.raises(EditError, match='needs the text field "value"'):
        parse_edit({"kind": "constant", "name": "RATE", "value": 1})
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
