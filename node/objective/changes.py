"""What an edit changes, without what may be written another way: for finding the same idea in other words.

Compared are the lines of the normalised syntax trees. Names that an author may choose freely (parameters, variables
inside functions, and all that the edit itself brings in) count as one name, and numbers by their values, apart from the
text. So two edits that differ in layout, comments and such names are the same change, also on two sources.

Pure functions of texts, which may be hostile: the helper process of `node.execution.parsing` carries them out, so this
file imports nothing but the standard library. How alike two changes are is for `node.proposers.novelty`.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from node.objective import sources
from node.objective.edits import PARSE_ERRORS, EditError, normalised

MAX_WORDS = 2000  # of each kind in one change: a source's worth; what is beyond is left out
MAX_NUMBERS = 100  # the node compares them one by one
MAX_WORD_CHARACTERS = 60
ANY_NAME = "_"
NUMBER = re.compile(r"‹([^‹›]*)›")
WORD = re.compile(r"\"[^\"]*\"|'[^']*'|\w+|\*\*|//|[-+*/%@<>=]=?|[&|^~!]=?")
WORD_OF_TEXT = re.compile(r"[^\W\d]\w*|[-+]?\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?|[^\w\s]")  # of a file that is no Python
NUMBER_OF_TEXT = re.compile(r"[-+]?\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Change:
    """An edit. places: the definitions and constants that it changes, such as "MLP.forward" or "LR".

    added, removed: words, and pairs of words that follow each other, in the lines that are new and in those that are
    gone, with how often each stands there; names that may be chosen freely are none of them. numbers, numbers_removed:
    the numbers in those lines, by value, in order.
    """

    places: tuple[str, ...]
    added: Mapping[str, int]
    removed: Mapping[str, int]
    numbers: tuple[float, ...]
    numbers_removed: tuple[float, ...]


def change_between(before: str, after: str, editable: Sequence[str] = ()) -> Change:
    """What an edit of a source changes. Raises EditError for sources that do not parse or are no tree."""
    old, new = sources.read(before, editable), sources.read(after, editable)
    gone: Counter[tuple[str, str]] = Counter()
    come: Counter[tuple[str, str]] = Counter()
    for path in sorted(old | new):
        lines = _python_lines if sources.is_python(path) else _text_lines
        was, becomes = lines(old.get(path, ""), new.get(path, ""))
        gone += was - becomes
        come += becomes - was
    removed, numbers_removed = _words(gone)
    added, numbers = _words(come)
    places = sorted({place for place, _ in (*gone, *come)} - {ANY_NAME, ""})[:MAX_WORDS]
    return Change(tuple(places), added, removed, numbers, numbers_removed)


def as_fields(change: Change) -> dict[str, Any]:
    """A change as plain values; `Change(**fields)` but for tuples."""
    return {
        "places": [place[:MAX_WORD_CHARACTERS] for place in change.places],
        "added": dict(change.added),
        "removed": dict(change.removed),
        "numbers": list(change.numbers),
        "numbers_removed": list(change.numbers_removed),
    }


def _words(lines: Counter[tuple[str, str]]) -> tuple[dict[str, int], tuple[float, ...]]:
    """The words of lines, and the numbers in them."""
    words: Counter[str] = Counter()
    numbers: list[float] = []
    for (_, line), times in sorted(lines.items()):
        found = [float(number) for number in NUMBER.findall(line)]
        numbers += found * min(times, MAX_NUMBERS)
        said = [word[:MAX_WORD_CHARACTERS] for word in WORD.findall(NUMBER.sub(" ", line)) if _says(word)]
        for word in (*said, *map(" ".join, pairwise(said))):
            words[word] += times
    return dict(words.most_common(MAX_WORDS)), tuple(sorted(numbers[:MAX_NUMBERS]))


def _says(word: str) -> bool:
    """Whether a word tells one change from another."""
    return bool(word.strip(ANY_NAME)) and word not in ("=", "return", "def", "self")


# ---- files that are no Python ----------------------------------------------------------------------------------------


def _text_lines(before: str, after: str) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    was, becomes = (Counter(("", _as_words(line)) for line in text.splitlines()) for text in (before, after))
    return was, becomes


def _as_words(line: str) -> str:
    """A line with one space between words, its numbers by value."""
    words = (f"‹{_value(word)!r}›" if NUMBER_OF_TEXT.fullmatch(word) else word for word in WORD_OF_TEXT.findall(line))
    return " ".join(words)


def _value(number: str) -> float:
    try:
        return float(number.replace("_", ""))
    except ValueError:
        return 0.0


# ---- Python ----------------------------------------------------------------------------------------------------------


def _python_lines(before: str, after: str) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """The lines of two versions of a file, each with the definition that it stands in."""
    old, new = normalised(before), normalised(after)
    chosen = _names_of(new) - _names_of(old)  # what the edit brings in, and might have called otherwise
    dropped = _names_of(old) - _names_of(new)
    try:
        return Counter(_lines_of(old, dropped)), Counter(_lines_of(new, chosen))
    except PARSE_ERRORS as error:
        raise EditError(f"the source cannot be compared: {type(error).__name__}") from None


def _names_of(tree: ast.Module) -> frozenset[str]:
    """Names of definitions, of module-level variables, and of attributes that are set."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    for statement in tree.body:
        names |= {
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
    return frozenset(names)


def _lines_of(tree: ast.Module, chosen: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Every line with the definition or constant that it stands in."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {alias.asname or alias.name.partition(".")[0] for node in imports for alias in node.names}
    neutral = _Neutral(chosen, frozenset(modules))
    for node in tree.body:
        yield from _lines_in(neutral, node, "")


def _lines_in(neutral: _Neutral, node: ast.stmt, within: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.ClassDef):
        name = neutral.name(node.name)
        yield name, f"class {name} {' '.join(ast.unparse(neutral.visit(base)) for base in node.bases)}"
        for part in node.body:
            yield from _lines_in(neutral, part, f"{name}.")
        return
    place = within + neutral.name(_place(node)) if _place(node) else within.rstrip(".")
    local = _locals(node) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else frozenset()
    for line in ast.unparse(neutral.inside(local).visit(node)).splitlines():
        yield place, line.strip()


def _place(node: ast.stmt) -> str:
    """What a statement defines, "" where that is no one thing."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""


def _locals(function: ast.AST) -> frozenset[str]:
    """The parameters and variables of a function and of what is defined in it."""
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return frozenset(names)


class _Neutral(ast.NodeTransformer):
    """Writes ANY_NAME for the names that may be chosen, numbers by their values, and modules' things by their names.

    chosen: names that the edit brings in. modules: names that were imported. local: names inside the function.
    """

    def __init__(self, chosen: frozenset[str], modules: frozenset[str], local: frozenset[str] = frozenset()) -> None:
        self._chosen = chosen
        self._modules = modules
        self._local = local

    def inside(self, local: frozenset[str]) -> _Neutral:
        return _Neutral(self._chosen, self._modules, local)

    def name(self, name: str) -> str:
        return ANY_NAME if name in self._chosen else name

    def visit_Name(self, node: ast.Name) -> ast.Name:
        any_name = node.id in self._chosen or node.id in self._local
        return ast.Name(ANY_NAME if any_name else node.id, node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(ANY_NAME)  # without its annotation, which does nothing

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and root.id in self._modules:
            return ast.Name(self.name(node.attr), node.ctx)  # torch.relu and F.relu are the same
        return ast.Attribute(self.visit(node.value), self.name(node.attr), node.ctx)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.returns = None
        node.name = self.name(node.name)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        node.name = self.name(node.name)
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return ast.Name(f"‹{_finite(node.value)!r}›", ast.Load())
        return node


def _finite(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return 0.0
