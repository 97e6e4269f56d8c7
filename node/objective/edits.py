"""Edits: changes to a source that still apply after other changes were kept.

An edit names what it changes (a constant, a function, a class) rather than a line number. The name is found in the
syntax tree, and the text between its positions is replaced, so comments and layout of the rest survive. Also here: the
fingerprint of a source and its constants. Everything is a pure function, and none of the code is executed.

Hostile texts can make any of them take seconds and hundreds of megabytes. A running node has them carried out by the
helper process of `node.execution.parsing`, which imports this file: so it imports nothing but the standard library.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from node.objective.trees import MAX_SOURCE_CHARACTERS

WORD = re.compile(r"\w+")
# What parsing hostile text can raise: RecursionError and MemoryError for absurd nesting, ValueError for null bytes.
PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class EditError(Exception):
    """The edit does not apply to this source (any more), or is not an edit; the text says why."""


@dataclass(frozen=True)
class SetConstant:
    """Give a module-level UPPERCASE constant another value (source text)."""

    name: str
    value: str


@dataclass(frozen=True)
class ReplaceDefinition:
    """Replace the function, method ("Class.method") or class of that name by `code`."""

    name: str
    code: str


@dataclass(frozen=True)
class AddDefinition:
    """Add top-level definitions or constants before the top-level definition `before`."""

    code: str
    before: str


@dataclass(frozen=True)
class ReplaceText:
    """Inside one definition, replace text that occurs there exactly once."""

    name: str
    old: str
    new: str


Edit = SetConstant | ReplaceDefinition | AddDefinition | ReplaceText


@dataclass(frozen=True)
class Constant:
    """A module-level UPPERCASE name with a literal value."""

    name: str
    value: Any
    line: int


def parse_edit(fields: Mapping[str, Any]) -> Edit:
    """An edit from its table in an ideas file. Raises EditError naming the field that is missing or wrong."""

    def text(name: str) -> str:
        value = fields.get(name)
        if not isinstance(value, str):
            raise EditError(f'an edit of kind "{fields.get("kind")}" needs the text field "{name}"')
        return value

    match fields.get("kind"):
        case "constant":
            return SetConstant(text("name"), text("value").strip())
        case "function":
            return ReplaceDefinition(text("name"), text("code"))
        case "add":
            return AddDefinition(text("code"), text("before"))
        case "replace":
            return ReplaceText(text("name"), text("old"), text("new"))
    raise EditError(f'an edit\'s kind is "constant", "function", "add" or "replace", not {fields.get("kind")!r}')


def edit_fields(edit: Edit) -> dict[str, str]:
    """The table of an edit, from which `parse_edit` makes it again."""
    kinds = {SetConstant: "constant", ReplaceDefinition: "function", AddDefinition: "add", ReplaceText: "replace"}
    return {"kind": kinds[type(edit)], **asdict(edit)}


def apply(source: str, edits: Sequence[Edit]) -> str:
    """The source after all edits, in order. Raises EditError when one does not apply or the result does not parse."""
    for edit in edits:
        match edit:
            case SetConstant():
                source = _set_constant(source, edit)
            case ReplaceDefinition():
                source = _replace_definition(source, edit)
            case AddDefinition():
                source = _add_definition(source, edit)
            case ReplaceText():
                source = _replace_text(source, edit)
    _parse(source)
    return source


def _parse(source: str) -> ast.Module:
    if len(source) > MAX_SOURCE_CHARACTERS:
        raise EditError(f"the source is longer than {MAX_SOURCE_CHARACTERS} characters")
    try:
        return ast.parse(source)
    except PARSE_ERRORS as error:
        raise EditError(f"the source does not parse: {type(error).__name__}: {error}") from None


def _lines(source: str) -> list[str]:
    return source.splitlines(keepends=True)


def _find(tree: ast.Module, name: str) -> Definition:
    """The definition with a dotted name. Raises EditError."""
    body: list[ast.stmt] = tree.body
    found: Definition | None = None
    for part in name.split("."):
        named = [node for node in body if isinstance(node, Definition) and node.name == part]
        if len(named) != 1:
            raise EditError(f"the source has {len(named)} definitions of {name}")
        found = named[0]
        body = found.body
    assert found is not None
    return found


def _span(node: Definition) -> tuple[int, int]:
    """First and one-past-last line (counted from 0), decorators included."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    assert node.end_lineno is not None
    return first - 1, node.end_lineno


def _set_constant(source: str, edit: SetConstant) -> str:
    statements = [
        node
        for node in _parse(source).body
        if isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == edit.name
    ]
    if len(statements) != 1:
        raise EditError(f"the source has {len(statements)} constants named {edit.name}")
    value = statements[0].value
    assert value.end_lineno is not None
    assert value.end_col_offset is not None
    lines = [line.encode() for line in _lines(source)]  # columns of the syntax tree count UTF-8 bytes
    before = lines[value.lineno - 1][: value.col_offset]
    after = lines[value.end_lineno - 1][value.end_col_offset :]
    lines[value.lineno - 1 : value.end_lineno] = [before + edit.value.encode() + after]
    return b"".join(lines).decode()


def _replace_definition(source: str, edit: ReplaceDefinition) -> str:
    node = _find(_parse(source), edit.name)
    first, end = _span(node)
    lines = _lines(source)
    indent = lines[node.lineno - 1][: node.col_offset]
    lines[first:end] = [_indented(edit.code, indent)]
    return "".join(lines)


def _indented(code: str, indent: str) -> str:
    """The code with `indent` before each line that is not empty, and one line end after the last."""
    body = code.strip("\n").splitlines()
    return "".join((indent + line if line.strip() else "") + "\n" for line in body)


def _add_definition(source: str, edit: AddDefinition) -> str:
    tree = _parse(source)
    present = _top_level_names(source)
    added = _top_level_names(edit.code)
    if added & present:
        raise EditError(f"the source already has {', '.join(sorted(added & present))}")
    first, _ = _span(_find(tree, edit.before))
    lines = _lines(source)
    lines[first:first] = [edit.code.strip("\n") + "\n\n\n"]
    return "".join(lines)


def _top_level_names(source: str) -> set[str]:
    """The names of a source's top-level definitions and constants. Raises EditError when it does not parse."""
    definitions = {node.name for node in _parse(source).body if isinstance(node, Definition)}
    return definitions | {constant.name for constant in constants(source)}


def _replace_text(source: str, edit: ReplaceText) -> str:
    first, end = _span(_find(_parse(source), edit.name))
    lines = _lines(source)
    text = "".join(lines[first:end])
    if text.count(edit.old) != 1:
        raise EditError(f"{edit.name} has the text to replace {text.count(edit.old)} times")
    lines[first:end] = [text.replace(edit.old, edit.new)]
    return "".join(lines)


def constants(source: str) -> list[Constant]:
    """The module-level UPPERCASE constants with literal values, in order. Raises EditError when it does not parse."""
    found = []
    for node in _parse(source).body:
        name = _name_of(node)
        if not isinstance(node, ast.Assign) or name is None or not name.isupper():
            continue
        try:
            value = ast.literal_eval(node.value)
        except PARSE_ERRORS:
            continue
        found.append(Constant(name, value, node.lineno))
    return found


def _name_of(node: ast.stmt) -> str | None:
    """The one name that a statement assigns to."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return None


class _WithoutDocstrings(ast.NodeTransformer):
    def _strip(self, node: Any) -> Any:
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _strip


def normalised(source: str) -> ast.Module:
    """The syntax tree without docstrings. Raises EditError."""
    try:
        tree: ast.Module = _WithoutDocstrings().visit(_parse(source))
    except PARSE_ERRORS as error:
        raise EditError(f"the source is nested too deep: {type(error).__name__}") from None
    return tree


def fingerprint(source: str) -> bytes:
    """sha256 of the normalised syntax tree: the same for sources that differ in comments, layout and docstrings only.

    For a source that does not parse, it is the sha256 of the text.
    """
    try:
        normal = ast.dump(normalised(source), annotate_fields=False)
    except (EditError, *PARSE_ERRORS):
        normal = source
    return hashlib.sha256(normal.encode("utf-8", "surrogatepass")).digest()


def names_read(source: str) -> frozenset[str]:
    """The module-level UPPERCASE constants that something else in the source mentions. Raises EditError.

    A mention in a string counts, since code may read a global by its name. For example, of RATE = 1, IDLE = 2 and a
    function that returns RATE, only RATE is read. A name occurs once where it is assigned, so twice means read.
    """
    tree = normalised(source)
    words: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            words[node.id] += 1
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.update(WORD.findall(node.value))
        elif isinstance(node, ast.Global):
            words.update(node.names)
    assigned = {name for node in tree.body if (name := _name_of(node)) is not None and name.isupper()}
    return frozenset(name for name in assigned if words[name] > 1)


def changes_nothing(source: str, child: str, idle: frozenset[str]) -> bool:
    """Whether a child differs from its source in no code, or only in constants among `idle` that it does not read.

    idle: names of constants that may be changed without any effect, if nothing reads them.
    """
    if not idle:
        return fingerprint(source) == fingerprint(child)
    try:
        unread = idle - names_read(child)
        return ast.dump(tree_without(source, unread)) == ast.dump(tree_without(child, unread))
    except (EditError, *PARSE_ERRORS):
        return False


def tree_without(source: str, names: frozenset[str]) -> ast.Module:
    """The normalised syntax tree without the module-level assignments to these names. Raises EditError."""
    tree = normalised(source)
    tree.body = [node for node in tree.body if _name_of(node) not in names]
    return tree
