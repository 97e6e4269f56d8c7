"""An edit of one source carried over to another that shares definitions with it, though hardly any line stays in place.

A merge of lines needs the same lines around. Here the edit is taken apart by name: constants that got another value,
definitions that changed, and new ones. A definition is replaced only where the other source has it word for word as it
was before the edit, but for comments and layout, and a constant where it has one of that name with a number.

Pure functions of texts, which may be hostile: the helper process of `node.execution.parsing` carries them out, so this
file imports nothing but the standard library.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from node.objective import sources
from node.objective.edits import (
    AddDefinition,
    Definition,
    EditError,
    ReplaceDefinition,
    SetConstant,
    apply,
    assigned_name,
    fingerprint,
    normalised,
    parse,
)

NamedEdit = SetConstant | ReplaceDefinition | AddDefinition


def carried(before: str, after: str, source: str, editable: Sequence[str] = ()) -> str:
    """A source of one Python file with the edit from `before` to `after`. Raises EditError where it does not apply."""
    texts = [sources.read(text, editable) for text in (before, after, source)]
    if any(len(files) != 1 or not sources.is_python(next(iter(files))) for files in texts):
        raise EditError("only edits of one Python file are carried over by their names")
    edits = list(_edits(parse(before), parse(after), after))
    if not edits or fingerprint(apply(before, edits)) != fingerprint(after):
        raise EditError("the edit does more than change definitions and constants")
    old, new = _named(normalised(before)), _named(normalised(source))
    for edit in edits:
        if not isinstance(edit, AddDefinition) and not _fits(edit, old, new):
            raise EditError(f"{edit.name} is not the same in both sources")
    return apply(source, edits)


def _fits(edit: NamedEdit, old: dict[str, ast.stmt], new: dict[str, ast.stmt]) -> bool:
    """Whether what an edit replaces is there, and what it was before the edit."""
    match edit:
        case SetConstant(name=name, value=value):
            here = new.get(name)
            return (
                isinstance(here, ast.Assign)
                and _is_number(here.value)
                and _is_number(ast.parse(value, mode="eval").body)
            )
        case ReplaceDefinition(name=name):
            return name in new and ast.dump(new[name]) == ast.dump(old[name])
    return False


def _is_number(value: ast.expr) -> bool:
    value = value.operand if isinstance(value, ast.UnaryOp) else value
    return isinstance(value, ast.Constant) and isinstance(value.value, int | float)


def _named(tree: ast.Module) -> dict[str, ast.stmt]:
    """What a file defines, by dotted name: constants, definitions, and the methods of classes."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        name = node.name if isinstance(node, Definition) else assigned_name(node)
        if name is not None:
            found[name] = node
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}": part for part in node.body if isinstance(part, Definition)}
    return found


def _edits(before: ast.Module, after: ast.Module, text: str) -> Iterator[NamedEdit]:
    """What makes the one of the other, by name; not more than that if something else differs."""
    old = _named(before)
    for place, node in enumerate(after.body):
        name = node.name if isinstance(node, Definition) else assigned_name(node)
        if name is None:
            continue
        if name not in old:
            yield AddDefinition(_text(node, text), _next_definition(after, place, old))
        elif ast.dump(node) != ast.dump(old[name]):
            yield from _changed(name, old[name], node, text)


def _changed(name: str, old: ast.stmt, new: ast.stmt, text: str) -> Iterator[NamedEdit]:
    if isinstance(new, ast.Assign):
        yield SetConstant(name, ast.unparse(new.value))
        return
    if isinstance(old, ast.ClassDef) and isinstance(new, ast.ClassDef):
        methods = {part.name: part for part in old.body if isinstance(part, Definition)}
        parts = [part for part in new.body if isinstance(part, Definition)]
        if [part.name for part in parts] == list(methods):
            for part in parts:
                if ast.dump(part) != ast.dump(methods[part.name]):
                    yield ReplaceDefinition(f"{name}.{part.name}", _text(part, text))
            return
    yield ReplaceDefinition(name, _text(new, text))


def _text(node: ast.stmt, text: str) -> str:
    """The text of a statement as it stands, without the indentation of its first line."""
    lines = text.splitlines()
    decorators = node.decorator_list if isinstance(node, Definition) else []
    first = min([node.lineno, *(each.lineno for each in decorators)]) - 1
    indent = node.col_offset
    return "\n".join(line[indent:] if not line[:indent].strip() else line for line in lines[first : node.end_lineno])


def _next_definition(tree: ast.Module, place: int, old: dict[str, ast.stmt]) -> str:
    """The first definition after a place that was there before. Raises EditError."""
    for node in tree.body[place + 1 :]:
        if isinstance(node, Definition) and node.name in old:
            return node.name
    raise EditError("there is nothing that a new definition could stand before")
