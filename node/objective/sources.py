"""Sources: what a source says and how it is edited, whether it is one file or a tree of several.

A file whose name ends in .py is read by its syntax tree, any other by its text. A source of one Python file has the
fingerprint and the names it would have alone, so records of objectives with one file stay true.

Like `edits` these are pure functions of texts, which a running node has the helper process of `node.execution.parsing`
carry out. They raise EditError for files that do not parse and for texts that are no tree.
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from node.objective import edits, seeds
from node.objective.edits import PARSE_ERRORS, WORD, Constant, Edit, EditError, ReplaceInFile
from node.objective.trees import TreeError, files_of, is_tree, unpack

Files = Mapping[str, str]  # texts by path
T = TypeVar("T")
UNNAMED = "source.py"  # the one file of a source, where its name is not known: it is taken to be Python


def read(source: str, editable: Sequence[str] = ()) -> dict[str, str]:
    """The files of a source by path. Raises EditError.

    editable: the objective's editable files. Where they are not known, the source's first line says whether it is a
    tree, and a single file is taken to be Python.
    """
    try:
        if editable:
            return files_of(source, editable)
        return unpack(source) if is_tree(source) else {UNNAMED: source}
    except TreeError as error:
        raise EditError(f"the source is not the objective's files: {error}") from None


def _of_file(files: Files, path: str, reading: Callable[[str], T], text: str) -> T:
    """What is read of one file. Raises EditError, which says which of several files it is about."""
    try:
        return reading(text)
    except EditError as error:
        raise EditError(f"{path}: {error}" if len(files) > 1 else str(error)) from None


def is_python(path: str) -> bool:
    """Whether a file is read by its syntax tree."""
    return path.endswith(".py")


def fingerprint(files: Files) -> bytes:
    """The same for sources that differ in nothing that matters, by which repeats are found.

    Of one file as `file_fingerprint`; of several the sha256 of their paths and fingerprints.
    """
    if len(files) == 1:
        ((path, text),) = files.items()
        return file_fingerprint(path, text)
    found = hashlib.sha256(b"tree\0")
    for path, text in sorted(files.items()):
        found.update(path.encode() + b"\0" + file_fingerprint(path, text))
    return found.digest()


def file_fingerprint(path: str, text: str) -> bytes:
    """Of Python that of its syntax tree; of any other file the sha256 of its text without space at the end of lines."""
    if is_python(path):
        return edits.fingerprint(text)
    return hashlib.sha256(plain_text(text).encode("utf-8", "surrogatepass")).digest()


def plain_text(text: str) -> str:
    """A text whose lines end in "\\n" alone, without space before it or empty lines behind it."""
    return "\n".join(line.rstrip() for line in edits.LINE_END.split(text)).rstrip("\n")


def apply(files: Files, changes: Sequence[Edit]) -> dict[str, str]:
    """The files after all edits, in order. Raises EditError when one does not apply or the result does not parse."""
    changed = dict(files)
    for change in changes:
        path, text = _applied(changed, change)
        changed[path] = text
    for path, text in changed.items():
        if is_python(path):
            _of_file(changed, path, edits.parse, text)
    return changed


def _applied(files: Files, change: Edit) -> tuple[str, str]:
    """The file that an edit changes, and its new text."""
    if change.file is not None:
        if change.file not in files:
            raise EditError(f"there is no file {change.file!r:.80} that may be edited")
        return change.file, _in_file(change.file, files[change.file], change)
    found: dict[str, str] = {}
    refusals: list[tuple[str, EditError]] = []
    for path, text in files.items():
        try:
            found[path] = _in_file(path, text, change)
        except EditError as refusal:
            refusals.append((path, refusal))
    if len(found) == 1:
        ((path, text),) = found.items()
        return path, text
    if found:
        raise EditError(f'the edit fits several files, {", ".join(found)}; name one of them under "file"')
    if len(refusals) == 1:
        raise refusals[0][1]
    raise EditError("the edit fits no file: " + "; ".join(f"{path}: {refusal}" for path, refusal in refusals))


def _in_file(path: str, text: str, change: Edit) -> str:
    if not is_python(path) and not isinstance(change, ReplaceInFile):
        raise EditError(f'{path} is not Python, so it has no names to edit; use an edit of kind "text"')
    return edits.applied(text, change)


def constants(files: Files) -> list[Constant]:
    """The module-level UPPERCASE constants of the Python files with literal values, in order. Raises EditError."""
    names = {place: name for name, place in _places(files).items()}
    several = len(files) > 1
    return [
        Constant(names[path, each.name], each.value, each.line, path if several else None)
        for path, text in files.items()
        if is_python(path)
        for each in edits.constants(text)
    ]


def names_read(files: Files) -> frozenset[str]:
    """The module-level UPPERCASE constants that anything else in the source mentions. Raises EditError.

    Of several files, any mention of a name counts for every constant that has it: file a may read RATE of file b as
    b.RATE, or import it, and a script or a configuration may set it.
    """
    places = _places(files)
    if len(files) == 1:
        ((path, text),) = files.items()
        return edits.names_read(text) if is_python(path) else frozenset()
    words: Counter[str] = Counter()
    for path, text in files.items():
        words += _mentions(_of_file(files, path, edits.normalised, text)) if is_python(path) else _words(text)
    assigned = Counter(name for _, name in places.values())
    return frozenset(shown for shown, (_, name) in places.items() if words[name] > assigned[name])


def binds(files: Files, name: str) -> bool:
    """Whether a Python file gives a name to something. `from … import *` may bind any name. Raises EditError."""
    trees = [_of_file(files, path, edits.parse, text) for path, text in files.items() if is_python(path)]
    return any(_binds(node, name) for tree in trees for node in ast.walk(tree))


def _binds(node: ast.AST, name: str) -> bool:
    match node:
        case ast.FunctionDef(name=bound) | ast.AsyncFunctionDef(name=bound) | ast.ClassDef(name=bound):
            return bound == name
        case ast.Name(id=bound, ctx=ast.Store()):
            return bound == name
        case ast.alias(name=bound, asname=other):
            return bound == "*" or (other or bound) == name
    return False


def _mentions(tree: ast.Module) -> Counter[str]:
    """What a file mentions of its own names and of other files'."""
    words = edits.mentions(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            words[node.attr] += 1
        elif isinstance(node, ast.alias):
            words[node.name] += 1
    return words


def _words(text: str) -> Counter[str]:
    return Counter(WORD.findall(text))


def _places(files: Files) -> dict[str, tuple[str, str]]:
    """Where each module-level UPPERCASE name stands, as (path, name), by what it is called. Raises EditError.

    It is called by its name, and where several files have it also by its path: "model.py:RATE".
    """
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for path, text in files.items():
        if is_python(path):
            for name in sorted(edits.assigned_names(_of_file(files, path, edits.parse, text))):
                paths[name].append(path)
    return {
        name if len(those) == 1 else f"{path}:{name}": (path, name) for name, those in paths.items() for path in those
    }


def changes_nothing(files: Files, child: Files, idle: frozenset[str] = frozenset()) -> bool:
    """Whether a child differs from its source in nothing that matters, or only in constants among `idle`.

    idle: names of constants that may be changed without any effect, if nothing reads them.
    """
    if files.keys() != child.keys():
        return False
    if not idle:
        return fingerprint(files) == fingerprint(child)
    try:
        unread = idle - names_read(child)
        return list(_normal_forms(files, unread)) == list(_normal_forms(child, unread))
    except (EditError, *PARSE_ERRORS):
        return False


def _normal_forms(files: Files, unread: frozenset[str]) -> Iterator[str]:
    """Each file without the assignments to these names, in the order of paths."""
    trees = _trees_without(files, unread)
    for path, text in sorted(files.items()):
        yield ast.dump(trees[path]) if path in trees else plain_text(text)


def _trees_without(files: Files, unread: frozenset[str]) -> dict[str, ast.Module]:
    """The normalised syntax trees of the Python files without the assignments to these names. Raises EditError."""
    dropped: defaultdict[str, set[str]] = defaultdict(set)
    for shown, (path, name) in _places(files).items():
        if shown in unread:
            dropped[path].add(name)
    return {path: edits.tree_without(text, frozenset(dropped[path])) for path, text in files.items() if is_python(path)}


def seed_constants(files: Files) -> frozenset[str]:
    """The constants whose every use, in whatever file, ends in a seed. Raises EditError."""
    if _too_long(files):
        return frozenset()
    trees, words = _trees_without(files, frozenset()), _other_words(files)
    only_seeds = seeds.seed_names(list(trees.values()), words)
    return frozenset(each.name for each in constants(files) if each.name.rpartition(":")[2] in only_seeds)


def overrides_seed(files: Files) -> bool:
    """Whether a source seeds generators and nowhere reads the run's own seed, `task.seed`. Raises EditError."""
    return seeds.ignores_run_seed(list(_trees_without(files, frozenset()).values()))


def changes_only_chance(files: Files, child: Files, idle: frozenset[str] = frozenset()) -> bool:
    """Whether a child differs from its source only in constants that do nothing but seed, or that nothing reads.

    idle: names of constants that may be changed without any effect, if nothing reads them.
    """
    if files.keys() != child.keys() or _too_long(files) or _too_long(child):
        return False
    if any(not is_python(path) and plain_text(text) != plain_text(child[path]) for path, text in files.items()):
        return False
    try:
        unread = idle - names_read(child) if idle else idle
        return _without_seeds(files, unread) == _without_seeds(child, unread)
    except (EditError, *PARSE_ERRORS):
        return False


def _without_seeds(files: Files, unread: frozenset[str]) -> list[str]:
    trees = _trees_without(files, unread)
    return seeds.without_seeds([trees[path] for path in sorted(trees)], _other_words(files))


def _too_long(files: Files) -> bool:
    return sum(len(text) for path, text in files.items() if is_python(path)) > seeds.MAX_FOLLOWED_CHARACTERS


def _other_words(files: Files) -> frozenset[str]:
    """What stands in files that are not Python: they may set or read a constant by its name."""
    return frozenset(word for path, text in files.items() if not is_python(path) for word in WORD.findall(text))
