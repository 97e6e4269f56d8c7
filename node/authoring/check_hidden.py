"""What is wrong with the packages that an objective hides from its runs: those that runs themselves need.

A run imports torch and numpy, and these import others. Which, their own installation says (its metadata), so nothing is
imported here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata

from node.authoring.fault import Fault
from node.execution.hidden_packages import hidden_paths
from node.objective.schema import SETTINGS, Objective

NEEDED = ("torch", "numpy")


def hidden_faults(objective: Objective) -> Iterator[Fault]:
    """Faults of `hidden`; a package that is not installed here is none, as its text may come from peers."""
    needed = needed_by_runs() if objective.hidden else frozenset()
    for name in objective.hidden:
        if name in needed:
            yield Fault(
                SETTINGS,
                f"hidden names {name!r}, which runs need, as torch or numpy imports it: no run would work. Take the "
                "judge's text from other packages",
            )


def hides_nothing(objective: Objective) -> Iterator[str]:
    """What to say of names in `hidden` under which nothing is installed here: often a name of pip's, not Python's."""
    for name in objective.hidden:
        if not hidden_paths(replace(objective, hidden=(name,))):
            yield (
                f"hidden names {name!r}, and nothing here has that name, so it hides nothing on this machine: of a "
                "package give the name that Python imports (dns, where pip says dnspython)"
            )


def needed_by_runs() -> frozenset[str]:
    """The names of folders and modules of torch, numpy and all that they require."""
    wanted, found = [_normal(name) for name in NEEDED], set()
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found.add(name)
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in requirements:
            words, _, marker = requirement.partition(";")
            match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", words.strip())
            if match and "extra" not in marker:
                wanted.append(_normal(match[0]))
    tops = metadata.packages_distributions()
    return frozenset(top for top, of in tops.items() if any(_normal(name) in found for name in of))


def _normal(name: str) -> str:
    """A distribution's name as all ways to write it are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
