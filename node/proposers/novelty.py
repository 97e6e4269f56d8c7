"""Novelty: whether an idea is one that was tried already, in other words or written another way.

Two edits are the same idea if what they add is nearly the same and no number was chosen otherwise: a rate of 3e-3 and
one of 4e-3 are two ideas. Where what they add differs more, their titles have to say the same as well. A different idea
that is called the same is lost, and one that is tried twice costs a run, so doubt counts for the idea. Pure functions;
what an edit changes is worked out in `node.objective.changes`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from node.objective.changes import Change

# Chosen so that no two different ideas of the embedded objectives are called the same (scripts/idea_memory.py).
SAME_EDIT = 0.9  # of what two edits add, from 0 to 1
LIKE_EDIT, SAME_TITLE = 0.4, 0.9  # together, where the edits are of the same places
SAME_NUMBER = 0.02  # relative difference, of a number and, below 1, of what it lacks to 1
WORD = re.compile(r"\d[\d_]*\.?\d*(?:e[-+]?\d+)?|[^\W\d_]+")
STOP_WORDS = frozenset(
    "a an and as at by for from in into its make of on or set than the to use using with".split()  # noqa: SIM905
)
ENDINGS = (
    *("isation", "ization", "alised", "alized", "alise", "alize", "ising", "izing", "ised", "ized", "ise", "ize"),
    *("ing", "ed", "es", "er", "s"),
)
STEM = 4  # characters that are left of a word at least


@dataclass(frozen=True)
class Described:
    """An idea's edit and title."""

    title: str
    change: Change


def same_idea(one: Described, other: Described, rarity: Mapping[str, float]) -> bool:
    """Whether two ideas are the same. rarity: of the words of titles, as `rarities` has it."""
    alike = edits_alike(one.change, other.change)
    numbers, others = one.change.numbers, other.change.numbers
    if alike < LIKE_EDIT or numbers_differ(numbers, others) or (alike == 1.0 and len(numbers) != len(others)):
        return False
    if alike >= SAME_EDIT:
        return True
    places = set(one.change.places) & set(other.change.places)
    return bool(places) and titles_alike(one.title, other.title, rarity) >= SAME_TITLE


def edits_alike(one: Change, other: Change) -> float:
    """How much two edits have in common, 0 to 1 (Dice's coefficient of what they add).

    What they take away depends on the source that they are made on, so it counts where neither adds anything.
    """
    added = _common(one.added, other.added)
    if added is None:
        return _common(one.removed, other.removed) or 0.0
    return added


def _common(one: Mapping[str, int], other: Mapping[str, int]) -> float | None:
    total = sum(one.values()) + sum(other.values())
    if total == 0:
        return None
    return 2 * sum(min(times, other.get(word, 0)) for word, times in one.items()) / total


def numbers_differ(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether each has a number that the other has not: a value was chosen otherwise.

    Where only one has more numbers, as for a safeguard against dividing by zero, nothing was chosen otherwise.
    """
    left = list(other)
    missing = 0
    for number in one:
        match = next((each for each in left if _same_number(number, each)), None)
        if match is None:
            missing += 1
        else:
            left.remove(match)
    return bool(missing and left)


def _same_number(one: float, other: float) -> bool:
    if one == other:
        return True
    close = math.isclose(one, other, rel_tol=SAME_NUMBER)
    if close and 0 < one < 1 and 0 < other < 1:  # .99 and .98 are 1 and 2 % of forgetting
        return math.isclose(1 - one, 1 - other, rel_tol=SAME_NUMBER)
    return close and not (one.is_integer() and other.is_integer())  # sizes and counts


def titles_alike(one: str, other: str, rarity: Mapping[str, float]) -> float:
    """How much two titles say the same, 0 to 1: the cosine of their words, weighed by how rare they are."""
    first, second = Counter(words_of(one)), Counter(words_of(other))
    usual = max(rarity.values(), default=1.0)

    def weight(word: str) -> float:
        return rarity.get(word, usual)

    common = math.fsum(first[word] * second[word] * weight(word) ** 2 for word in first.keys() & second.keys())
    lengths = [math.fsum((times * weight(word)) ** 2 for word, times in words.items()) for words in (first, second)]
    return common / math.sqrt(lengths[0] * lengths[1]) if all(lengths) else 0.0


def words_of(title: str) -> list[str]:
    """The words of a title that tell ideas apart, without endings, and its numbers by value."""
    return [_stem(word) for word in WORD.findall(title.lower()) if word not in STOP_WORDS]


def _stem(word: str) -> str:
    if word[0].isdigit():
        try:
            return repr(float(word.replace("_", "")))
        except ValueError:
            return word
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= STEM:
            return word[: -len(ending)]
    return word


def rarities(titles: Iterable[str]) -> Mapping[str, float]:
    """How rare each word is among titles: 1 + ln(titles / those that have it)."""
    words = [set(words_of(title)) for title in dict.fromkeys(titles)]
    times = Counter(word for each in words for word in each)
    return {word: 1 + math.log(len(words) / count) for word, count in times.items()}
