"""Where a program takes its random seed from: a variable that it reads, or a number in its source to be rewritten.

A rewrite is found once in its file, or it is of no use: the runner refuses what it finds twice. A text that stands in
several places is told apart by the lines before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from node.authoring.importing.folder import Folder
from node.authoring.importing.recognised import SeedsFound
from node.objective.schema import SeedRewrite
from node.objective.table import MAX_TEXT

MOST_REWRITES = 8  # of one objective; a program with more seeds in it has a way of its own to set them
_LINES_BEFORE = 4  # that are added to tell a place from others

# A call that seeds a generator with a number: torch, numpy, random, mlx, jax, tensorflow, lightning.
_CALL = re.compile(
    r"(?<![\w.])(?:\w+\.)*"
    r"(?:manual_seed(?:_all)?|seed|default_rng|PRNGKey|RandomState|Random|set_seed|seed_everything|set_random_seed)"
    r"\(\s*(?:seed\s*=\s*)?(\d{1,10})\s*\)"
)
_CONSTANT = re.compile(r"^(?:\w*_)?(?:SEED|seed)\s*(?::\s*int\s*)?=\s*(\d{1,10})(?=\s*(?:#.*)?$)")
_READ = re.compile(r"""(?:environ(?:\.get\(|\[)|getenv\(|env::var\(|ENV\[)\s*["'](\w*SEED)["']""")
_READ_IN_SHELL = re.compile(r"\$\{?(\w*SEED)\b(?!=)")


def find_seeds(folder: Folder, editable: Sequence[str], measuring: Sequence[str]) -> SeedsFound:
    """How runs of these files get seeds. measuring: the locked files by which a run is measured.

    Only editable files are rewritten. A seed in a locked file says on what every run is measured, so it stays.
    """
    for path in (*editable, *measuring):
        found = (_READ_IN_SHELL if path.endswith(".sh") else _READ).search(folder.text(path))
        if found is not None and found[1] not in ("PYTHONHASHSEED",):
            return SeedsFound(found[1], (), f"the variable {found[1]}, which {path} reads")
    rewrites = tuple(rewrite for path in editable for rewrite in rewrites_in(path, folder.text(path)))
    if 0 < len(rewrites) <= MOST_REWRITES:
        places = " and ".join(f"{rewrite.find.splitlines()[-1].strip()} in {rewrite.file}" for rewrite in rewrites)
        return SeedsFound(None, rewrites, f"rewritten for each run: {places}")
    fixed = [path for path in measuring if path.endswith(".py") and _CALL.search(folder.text(path))]
    if fixed:
        return SeedsFound(None, (), f"none found ({fixed[0]} draws with a seed of its own, the same in every run)")
    return SeedsFound(None, (), "none found, so runs differ by chance alone or not at all")


def rewrites_in(path: str, text: str) -> Iterator[SeedRewrite]:
    """The rewrites that seed one file; none where a place cannot be told from another."""
    lines = text.split("\n")
    if "\r" in text or not path.endswith(".py"):
        return
    numbers = {index: match for index, line in enumerate(lines) if (match := _seeded(line))}
    if len(numbers) > 4 * MOST_REWRITES:  # seeding is what it does, with a way of its own
        return
    done: set[int] = set()
    for index in numbers:
        if index in done:
            continue
        first, last = index, index
        while last + 1 in numbers:  # neighbours belong together: each may be what tells the other apart
            last += 1
        for number in range(first, last + 1):
            done.add(number)
        if all(text.count(numbers[number][0]) == 1 for number in range(first, last + 1)):
            yield from (_rewrite(path, numbers[number][0], numbers[number]) for number in range(first, last + 1))
            continue
        block = _block(lines, first, last, text)
        if block is None:
            return
        start, find = block
        replace = "\n".join(
            _with_seed(lines[number], numbers[number], 0) if number in numbers else lines[number]
            for number in range(start, last + 1)
        )
        yield SeedRewrite(path, find, replace)


def _seeded(line: str) -> re.Match[str] | None:
    if line.lstrip().startswith("#"):
        return None
    return _CONSTANT.search(line) or _CALL.search(line)


def _block(lines: Sequence[str], first: int, last: int, text: str) -> tuple[int, str] | None:
    """(its first line, the text) of whole lines that end with line `last` and stand in the text once."""
    for start in range(first, max(-1, first - _LINES_BEFORE - 1), -1):
        find = "\n".join(lines[start : last + 1])
        if len(find) > MAX_TEXT - 20:
            return None
        if text.count(find) == 1:
            return start, find
    return None


def _rewrite(path: str, find: str, match: re.Match[str]) -> SeedRewrite:
    return SeedRewrite(path, find, _with_seed(find, match, match.start()))


def _with_seed(text: str, match: re.Match[str], offset: int) -> str:
    begin, end = match.start(1) - offset, match.end(1) - offset
    return f"{text[:begin]}{{seed}}{text[end:]}"
