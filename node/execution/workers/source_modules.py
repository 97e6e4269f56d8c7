"""A source's files as modules that import each other. Part of the workers that run sources; imports nothing of ours.

The first file is the one whose functions are called; it is known as `candidate_source`. Where there are several, each
is imported as if they lay in one folder and the first had been started there: of train.py, layers.py and parts/block.py
the last two are `layers` and `parts.block`. If the first lies in a folder, the names of what lies below that folder
begin there; those of all else begin at the top. Nothing is read from disk, and no file is written.
"""

import importlib.abc
import importlib.machinery
import linecache
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

MODULE = "candidate_source"


class NotPython(Exception):
    """A file of the source cannot be compiled; its cause says where."""


class SourceModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The files of one source, compiled, and the importer that makes modules of them."""

    def __init__(self, files: Mapping[str, bytes | bytearray]) -> None:
        """Raises NotPython. files: their texts by path, the first one first; those that are not Python are left out."""
        self._main, *others = files
        python = [path for path in others if path.endswith(".py")]
        self._codes = {path: compiled(path, files[path]) for path in [self._main, *python]}
        self._paths: dict[str, str | None] = {}  # by module's name; None for a folder without an __init__.py
        for path in python:
            self._name(path)
        if others:
            self._paths.setdefault(self._module_name(self._main), self._main)

    def load(self) -> types.ModuleType:
        """The module of the first file, executed. Raises whatever its top level raises."""
        module = types.ModuleType(MODULE)
        module.__file__ = self._main
        sys.modules[MODULE] = module
        if self._paths:
            sys.meta_path.insert(0, self)
            for name in self._paths:
                sys.modules.pop(name, None)  # a file that is called as a library's module stands before it
            sys.modules[self._module_name(self._main)] = module  # for a file that imports the first one
        exec(self._codes[self._main], module.__dict__)
        return module

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._paths:
            return None
        origin = self._paths[fullname]
        package = origin is None or PurePosixPath(origin).name == "__init__.py"
        return importlib.machinery.ModuleSpec(fullname, self, origin=origin, is_package=package)

    def exec_module(self, module: types.ModuleType) -> None:
        path = self._paths[module.__name__]
        if path is not None:
            module.__file__ = path
            exec(self._codes[path], module.__dict__)

    def _name(self, path: str) -> None:
        """Note a file under its module's name, and the folders above it."""
        name = self._module_name(path)
        self._paths[name] = path
        while "." in name:
            name = name.rpartition(".")[0]
            self._paths.setdefault(name, None)

    def _module_name(self, path: str) -> str:
        file, top = PurePosixPath(path), PurePosixPath(self._main).parent
        inside = file.relative_to(top) if file.is_relative_to(top) else file
        parts = inside.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def compiled(path: str, content: bytes | bytearray) -> types.CodeType:
    """The code of a file, its text in linecache for tracebacks and `inspect`. Raises NotPython."""
    try:
        text = content.decode("utf-8-sig")
        code = compile(text, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # not text; nested too deep for the parser
        raise NotPython from error
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    return code
