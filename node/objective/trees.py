"""Trees: several files as one text, so that a source of many files is stored, hashed and sent like one of one file.

    autoresearch tree 1
    === layers.py 24
    WIDTH = 64  # of a layer

    === train.py 14
    import layers

Each file is a line with its path and its length in bytes of UTF-8, exactly so many bytes, and a line end. Files stand
in the order of their paths, and there is one way to write a tree: two equal sets of files are the same text and have
the same id. No Python file begins with such a first line, for that would be a syntax error.

The helper process of `node.execution.parsing` imports this file, so it imports nothing but the standard library.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

FIRST_LINE = "autoresearch tree 1\n"
MARK = b"=== "
MAX_FILES = 64
MAX_SOURCE_CHARACTERS = 256 << 10  # of a whole source; the ledger takes as many bytes (store.MAX_SOURCE_BYTES)
MAX_PATH = 200


class TreeError(Exception):
    """A text is no tree, or files make none; the text says why."""


def is_tree(source: str) -> bool:
    """Whether a source says that it is a tree. What follows its first line may still be wrong; `unpack` finds out."""
    return source.startswith(FIRST_LINE)


def pack(files: Mapping[str, str]) -> str:
    """The tree of these files, by path. Raises TreeError."""
    if not 1 <= len(files) <= MAX_FILES:
        raise TreeError(f"a tree has 1 to {MAX_FILES} files, not {len(files)}")
    parts = [FIRST_LINE.encode()]
    for path, text in sorted(files.items()):
        if not is_safe(path):
            raise TreeError(f"{path!r:.80} is no relative path that is safe on every system")
        content = _bytes(text)
        parts += [MARK, f"{path} {len(content)}\n".encode(), content, b"\n"]
    _refuse_files_as_folders(files)
    packed = b"".join(parts)
    if len(packed) > MAX_SOURCE_CHARACTERS:
        raise TreeError(f"the files take {len(packed)} bytes together, {MAX_SOURCE_CHARACTERS} are allowed")
    return packed.decode()


def unpack(source: str) -> dict[str, str]:
    """The files of a tree, by path. Raises TreeError for a text that is not exactly what `pack` makes of them."""
    if not is_tree(source):
        raise TreeError(f"a tree begins with the line {FIRST_LINE.strip()!r}")
    data = _bytes(source)
    files: dict[str, str] = {}
    position = len(FIRST_LINE)
    while position < len(data):
        line_end = data.find(b"\n", position)
        if not data.startswith(MARK, position) or line_end < 0:
            raise TreeError(f'byte {position} is not the beginning of a line "=== <path> <bytes>"')
        path, _, size = data[position + len(MARK) : line_end].decode("utf-8", "replace").rpartition(" ")
        if not size.isascii() or not size.isdigit() or len(size) > len(str(MAX_SOURCE_CHARACTERS)):
            raise TreeError(f"{path!r:.80} has no length in bytes")
        begin, end = line_end + 1, line_end + 1 + int(size)
        if data[end : end + 1] != b"\n":
            raise TreeError(f"{path!r:.80} does not end where its length says")
        try:
            files[path] = data[begin:end].decode()
        except UnicodeDecodeError:
            raise TreeError(f"{path!r:.80} does not end where its length says") from None
        position = end + 1
        if len(files) > MAX_FILES:
            raise TreeError(f"a tree has at most {MAX_FILES} files")
    if pack(files) != source:  # another order, a path twice, a length with leading zeros
        raise TreeError("the tree is not written in its one form")
    return files


def files_of(source: str, editable: Sequence[str]) -> dict[str, str]:
    """The files of an objective's source, by path, in the objective's order.

    A source of one editable file is that file's text, whatever it begins with; of several it is a tree of exactly
    these. Raises TreeError.
    """
    if len(editable) == 1:
        return {editable[0]: source}
    files = unpack(source)
    if files.keys() != set(editable):
        raise TreeError(f"the source has the files {', '.join(files)}, not {', '.join(editable)}"[:500])
    return {path: files[path] for path in editable}


def source_of(files: Mapping[str, str]) -> str:
    """The source that these editable files make: the inverse of `files_of`. Raises TreeError."""
    if len(files) == 1:
        (text,) = files.values()
        return text
    return pack(files)


def is_safe(path: str) -> bool:
    """Whether a path stays below its folder on every system: the same paths that protocol.objective.safe_path allows.

    The helper process cannot import the protocol, whose packages lie outside the standard library; a test holds the two
    to the same answers.
    """
    if not path or len(path) > MAX_PATH or "\\" in path or ":" in path:
        return False
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for character in path):
        return False
    return not any(part in ("", ".", "..") for part in path.split("/"))


def _refuse_files_as_folders(paths: Mapping[str, str]) -> None:
    """Refuse "a" beside "a/b": one of them could not be written. Raises TreeError."""
    for path in paths:
        parts = path.split("/")
        for length in range(1, len(parts)):
            if "/".join(parts[:length]) in paths:
                raise TreeError(f"{'/'.join(parts[:length])!r:.80} is a file and a folder")


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise TreeError("there are characters that are no text") from None
