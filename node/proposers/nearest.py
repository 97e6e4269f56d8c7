"""Where a text that was to be found in a file nearly stands: for telling a model what is different about it."""

from __future__ import annotations

import difflib
import heapq

MOST_LINES, MOST_CHARACTERS = 12, 400  # of a passage that is compared and shown
MOST_COMPARED = 20  # passages, those that look most like it
LEAST_LIKE = 0.6  # of SequenceMatcher.ratio: less is no hint
MOST_SEARCHED = 4000  # lines of a file


def nearest(text: str, search: str) -> str | None:
    """The lines of a text that are most like `search`, with their numbers; None where nothing is like it.

    Worked example: for "LR  = 3e-3" in a file whose fourth line is "LR = 3e-3" it is 'line 4 differs only in white
    space:' and that line.
    """
    lines, wanted = text.split("\n")[:MOST_SEARCHED], search.strip("\n").split("\n")
    if not search.strip() or len(wanted) > len(lines):
        return None
    bare = [" ".join(line.split()) for line in lines]
    sought = [" ".join(line.split()) for line in wanted]
    count = len(sought)
    for first in range(len(lines) - count + 1):
        if bare[first : first + count] == sought:
            return _shown(lines, first, count, "differs only in white space")
    part = "\n".join(bare).find("\n".join(sought))  # one that begins or ends within a line
    if part >= 0:
        return _shown(lines, "\n".join(bare).count("\n", 0, part), count, "has it, but for white space")
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2("\n".join(sought)[:MOST_CHARACTERS])
    likely: list[tuple[float, int]] = []
    for first in range(len(lines) - count + 1):
        matcher.set_seq1("\n".join(bare[first : first + count])[:MOST_CHARACTERS])
        if matcher.real_quick_ratio() > LEAST_LIKE and (ratio := matcher.quick_ratio()) > LEAST_LIKE:
            likely.append((ratio, -first))
    best, where = LEAST_LIKE, -1
    for _, place in heapq.nlargest(MOST_COMPARED, likely):
        matcher.set_seq1("\n".join(bare[-place : -place + count])[:MOST_CHARACTERS])
        if (ratio := matcher.ratio()) > best:
            best, where = ratio, -place
    return None if where < 0 else _shown(lines, where, count, "is most like it")


def _shown(lines: list[str], first: int, count: int, what: str) -> str:
    passage = "\n".join(lines[first : first + min(count, MOST_LINES)])[:MOST_CHARACTERS]
    where = f"line {first + 1}" if count == 1 else f"the passage of lines {first + 1} to {first + count}"
    return f"{where} {what}:\n{passage}"
