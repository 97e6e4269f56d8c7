"""Edits: changes to a file that still apply after other changes were kept.

An edit names what it changes (a constant, a function, a class) rather than a line number. The name is found in the
syntax tree, and the text between its positions is replaced, so comments and layout of the rest survive. In a file that
is not Python, a piece of text stands for the name. Also here: the fingerprint of a Python file and its constants.
Everything is a pure function of one file, and none of the code is executed; `sources` has the same for several files.

Hostile texts can make any of them take seconds and hundreds of megabytes. A running node has them carried out by the
helper process of `node.execution.parsing`, which imports this file: so it imports nothing but the standard library.
"""

from __future__ import annotations

import ast
import hashlib
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

from node.objective.trees import MAX_SOURCE_CHARACTERS

BYTE_ORDER_MARK = "\ufeff"
WORD = re.compile(r"\w+")
LINE_END = re.compile(
    r"(?<=\n)|(?<=\r)(?!\n)"
)  # as Python sees them: str.splitlines also splits at form feeds and others
# What parsing hostile text can raise: RecursionError and MemoryError for absurd nesting, ValueError for null bytes.
PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class EditError(Exception):
    """The edit does not apply to this source (any more), or is not an edit; the text says why."""


class NotOnceError(EditError):
    """A piece of text does not occur exactly once; times: how often it does."""

    def __init__(self, times: int) -> None:
        super().__init__(f"the text to replace occurs {times} times")
        self.times = times


# Of every edit, file: the path of the file that it changes; None where only one file has what it names.


@dataclass(frozen=True)
class SetConstant:
    """Give a module-level UPPERCASE constant another value (source text)."""

    name: str
    value: str
    file: str | None = None


@dataclass(frozen=True)
class ReplaceDefinition:
    """Replace the function, method ("Class.method") or class of that name by `code`."""

    name: str
    code: str
    file: str | None = None


@dataclass(frozen=True)
class AddDefinition:
    """Add top-level definitions or constants before the top-level definition `before`."""

    code: str
    before: str
    file: str | None = None


@dataclass(frozen=True)
class ReplaceText:
    """Inside one definition, replace text that occurs there exactly once."""

    name: str
    old: str
    new: str
    file: str | None = None


@dataclass(frozen=True)
class ReplaceInFile:
    """In a file of any language, replace text that occurs there exactly once."""

    old: str
    new: str
    file: str | None = None


Edit = SetConstant | ReplaceDefinition | AddDefinition | ReplaceText | ReplaceInFile
KINDS: Mapping[str, type[Edit]] = {
    "constant": SetConstant,
    "function": ReplaceDefinition,
    "add": AddDefinition,
    "replace": ReplaceText,
    "text": ReplaceInFile,
}


@dataclass(frozen=True)
class Constant:
    """A module-level UPPERCASE name with a literal value.

    name: as it is called among all files of a source: "RATE", or "model.py:RATE" where two files have one. file: None
    where a source is one file.
    """

    name: str
    value: Any
    line: int
    file: str | None = None

    def set_to(self, value: str) -> SetConstant:
        """The edit that gives it another value (source text)."""
        return SetConstant(self.name.rpartition(":")[2], value, self.file)


def parse_edit(fields: Mapping[str, Any]) -> Edit:
    """An edit from its table in an ideas file. Raises EditError naming the field that is missing or wrong."""
    kind = fields.get("kind")

    def text(name: str) -> str:
        value = fields.get(name)
        if not isinstance(value, str):
            raise EditError(f'an edit of kind "{kind}" needs the text field "{name}"')
        return value

    file = text("file") if "file" in fields else None
    match kind:
        case "constant":
            return SetConstant(text("name"), text("value").strip(), file)
        case "function":
            return ReplaceDefinition(text("name"), text("code"), file)
        case "add":
            return AddDefinition(text("code"), text("before"), file)
        case "replace":
            return ReplaceText(text("name"), text("old"), text("new"), file)
        case "text":
            return ReplaceInFile(text("old"), text("new"), file)
    raise EditError(f"an edit's kind is one of {', '.join(KINDS)}, not {kind!r}")


def edit_fields(edit: Edit) -> dict[str, str]:
    """The table of an edit, from which `parse_edit` makes it again."""
    (kind,) = (name for name, each in KINDS.items() if isinstance(edit, each))
    return {"kind": kind, **{name: value for name, value in asdict(edit).items() if value is not None}}


def apply(source: str, edits: Sequence[Edit]) -> str:
    """A Python file after all edits, in order. Raises EditError when one does not apply or the result does not parse.

    The edits' own `file` is not looked at.
    """
    for edit in edits:
        source = applied(source, edit)
    parse(source)
    return source


def applied(source: str, edit: Edit) -> str:
    """A file after one edit. Raises EditError when it does not apply; whether the result parses is not looked at."""
    source = source.removeprefix(BYTE_ORDER_MARK)  # some editors write one; Python passes over it in files
    match edit:
        case SetConstant():
            return _set_constant(source, edit)
        case ReplaceDefinition():
            return _replace_definition(source, edit)
        case AddDefinition():
            return _add_definition(source, edit)
        case ReplaceText():
            return _replace_text(source, edit)
        case ReplaceInFile():
            return replace_once(source, edit.old, edit.new)


def parse(source: str) -> ast.Module:
    """The syntax tree. Raises EditError."""
    if len(source) > MAX_SOURCE_CHARACTERS:
        raise EditError(f"the source is longer than {MAX_SOURCE_CHARACTERS} characters")
    try:
        return ast.parse(source.removeprefix(BYTE_ORDER_MARK))
    except PARSE_ERRORS as error:
        raise EditError(f"the source does not parse: {type(error).__name__}: {_what_is_wrong(error)}") from None


def _what_is_wrong(error: BaseException) -> str:
    """Without the name "<unknown>" that Python gives a source which it was not told the file of."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"{error.msg}, line {error.lineno}"
    return str(error)


def _lines(source: str) -> list[str]:
    return LINE_END.split(source)


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
        for node in parse(source).body
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
    node = _find(parse(source), edit.name)
    first, end = _span(node)
    lines = _lines(source)
    indent = lines[node.lineno - 1][: node.col_offset]
    lines[first:end] = [with_line_ends(_indented(edit.code, indent), line_end(source))]
    return "".join(lines)


def _indented(code: str, indent: str) -> str:
    """The code with `indent` before each line that is not empty, and one line end after the last."""
    body = code.strip("\n").splitlines()
    return "".join((indent + line if line.strip() else "") + "\n" for line in body)


def _add_definition(source: str, edit: AddDefinition) -> str:
    tree = parse(source)
    present = _top_level_names(source)
    added = _top_level_names(edit.code)
    if added & present:
        raise EditError(f"the source already has {', '.join(sorted(added & present))}")
    first, _ = _span(_find(tree, edit.before))
    lines = _lines(source)
    lines[first:first] = [with_line_ends(edit.code.strip("\n") + "\n\n\n", line_end(source))]
    return "".join(lines)


def _top_level_names(source: str) -> set[str]:
    """The names of a source's top-level definitions and constants. Raises EditError when it does not parse."""
    definitions = {node.name for node in parse(source).body if isinstance(node, Definition)}
    return definitions | {constant.name for constant in constants(source)}


def _replace_text(source: str, edit: ReplaceText) -> str:
    first, end = _span(_find(parse(source), edit.name))
    lines = _lines(source)
    text = "".join(lines[first:end])
    try:
        lines[first:end] = [replace_once(text, edit.old, edit.new)]
    except NotOnceError as error:
        raise EditError(f"{edit.name} has the text to replace {error.times} times") from None
    return "".join(lines)


def replace_once(text: str, old: str, new: str) -> str:
    """The text with `new` in the place of `old`, in the line ends of the text. Raises NotOnceError.

    Where `old` does not occur as it is, line ends and space at the end of lines make no difference. It takes time in
    proportion to the lengths, whatever they hold.
    """
    new = with_line_ends(new, line_end(text))
    if old and old in text:
        if text.count(old) > 1:
            raise NotOnceError(text.count(old))
        return text.replace(old, new)
    lines, wanted = text.split("\n"), "\n".join(line.rstrip() for line in old.split("\n"))
    kept = [line.rstrip() for line in lines]
    bare = "\n".join(kept) + "\n"
    end = len(wanted)
    if wanted and not old.endswith(("\n", wanted[-1])):  # "x = 1 " may stand for a whole "x = 1", and not for "x = 10"
        wanted += "\n"
    times = bare.count(wanted) if wanted.strip() else 0
    if times != 1:
        raise NotOnceError(times)
    # A position in the bare text is as far from the beginning of its line as it is in the text itself.
    bare_starts = list(accumulate((len(line) + 1 for line in kept), initial=0))
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))

    def original(position: int) -> int:
        number = bisect_right(bare_starts, position) - 1
        return starts[number] + position - bare_starts[number]

    begin = bare.index(wanted)
    return text[: original(begin)] + new + text[original(begin + end) :]


def line_end(text: str) -> str:
    """How most lines of a text end: "\\r\\n" or "\\n"."""
    return "\r\n" if 2 * text.count("\r\n") > text.count("\n") else "\n"


def with_line_ends(text: str, end: str) -> str:
    """The text with all its lines ended like this."""
    return text.replace("\r\n", "\n").replace("\n", end)


def constants(source: str) -> list[Constant]:
    """The module-level UPPERCASE constants with literal values, in order. Raises EditError when it does not parse."""
    found = []
    for node in parse(source).body:
        name = assigned_name(node)
        if not isinstance(node, ast.Assign) or name is None or not name.isupper():
            continue
        try:
            value = ast.literal_eval(node.value)
        except PARSE_ERRORS:
            continue
        found.append(Constant(name, value, node.lineno))
    return found


def assigned_name(node: ast.stmt) -> str | None:
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
        tree: ast.Module = _WithoutDocstrings().visit(parse(source))
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
    words = mentions(tree)
    return frozenset(name for name in assigned_names(tree) if words[name] > 1)


def mentions(tree: ast.Module) -> Counter[str]:
    """How often each name stands in a file, in strings too."""
    words: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            words[node.id] += 1
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.update(WORD.findall(node.value))
        elif isinstance(node, ast.Global):
            words.update(node.names)
    return words


def assigned_names(tree: ast.Module) -> frozenset[str]:
    """The UPPERCASE names that a file's top level assigns to."""
    return frozenset(name for node in tree.body if (name := assigned_name(node)) is not None and name.isupper())


def tree_without(source: str, names: frozenset[str]) -> ast.Module:
    """The normalised syntax tree without the module-level assignments to these names. Raises EditError."""
    tree = normalised(source)
    tree.body = [node for node in tree.body if assigned_name(node) not in names]
    return tree
