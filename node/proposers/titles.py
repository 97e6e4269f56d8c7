"""Titles of several ideas together: joined, as many as there is room for, and taken apart again."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.fields import TEXT_LIMITS

JOIN = " + "


def joined(titles: Sequence[str]) -> str:
    """The titles, or the first of them and how many more there are; at most as long as a record's title may be."""
    most = TEXT_LIMITS["title"]
    for count in range(len(titles), 0, -1):
        more = f"{JOIN}{len(titles) - count} more" if count < len(titles) else ""
        title = JOIN.join(titles[:count]) + more
        if len(title) <= most:
            return title
    return titles[0][:most].strip()


def parts_of(title: str) -> frozenset[str]:
    """The titles that were joined to this one, as far as it names them."""
    return frozenset(title.split(JOIN))
