"""Expected gains: what a claim would bring this node if every claim that it goes back to holds.

A lineage is walked from where it parted from this node's own; claims along it count by category:

    baseline ── A(init .20) ── B(batch .05)     this node's best: B
                      └── C(init .25) ── D(schedule .04)     a peer's

D brings schedule .04 whole. For C's initialisation nothing of this node's own part (B) is in the way, so .25 counts;
had B been an initialisation worth .05, C would count for .25 − .05: ideas of a category replace one another.

Keys are free and records cheap, so a claim must not cost a walk through all that it goes back to. Where each source was
made from one other, the lineages of all claims are a forest: it is walked once, forth and back, and what has been added
up on the way to a source counts for everything that was made from it. Only a merge needs a walk of its own, and these
have a limit together.

It knows lineages and claims by their authors; not what this node makes of a claim, which it is told. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from node.ledger.projections.lineage import (
    MAX_CLAIMED_GAIN,
    ClaimedGains,
    Derivations,
    SourceVersion,
    ancestry,
    claimed_gain_by_category,
    source_ids,
)

MOST_STEPS = 300_000  # of the walks for merges: about .3 s. A swarm of 100 nodes with 20 merges each needs as many


@dataclass(frozen=True)
class OwnSearch:
    """Where this node's search stands: the lineage of its best source, and what was gained in each category.

    claimed: by every author, for each version. measured: by this node, in ln.
    """

    best: bytes
    lineage: AbstractSet[SourceVersion]
    claimed: ClaimedGains
    measured: Mapping[str, float]

    def gains_since(self, shared: AbstractSet[bytes]) -> dict[str, float]:
        """What its best has gained by category beyond these sources: as claimed, at most as measured."""
        gains = claimed_gain_by_category(self.claimed, (v for v in self.lineage if v[1] not in shared))
        return {category: min(gain, self.measured.get(category, 0.0)) for category, gain in gains.items()}


def expected_gains(
    versions: Iterable[SourceVersion],
    derived: Derivations,
    hopeful: ClaimedGains,
    own: OwnSearch,
    comes_first: Callable[[bytes], bool],
    most_steps: int = MOST_STEPS,
) -> dict[SourceVersion, float]:
    """The gain (ln, at most MAX_CLAIMED_GAIN) over this node's best that each of these versions is expected to bring.

    hopeful: the claims that count. comes_first: the authors for whom `most_steps` are used first. A merge for which
    none are left counts for what is claimed for the merge itself.
    """
    return _Walks(derived, hopeful, own, comes_first, most_steps).all_of(versions)


@dataclass
class _Walks:
    """All walks for one call of `expected_gains`."""

    derived: Derivations
    hopeful: ClaimedGains
    own: OwnSearch
    comes_first: Callable[[bytes], bool]
    steps_left: int
    found: dict[SourceVersion, float] = field(default_factory=dict)
    own_since: dict[frozenset[SourceVersion], Mapping[str, float]] = field(default_factory=dict)  # many share a parting

    def __post_init__(self) -> None:
        self.own_sources = source_ids(self.own.lineage)

    def all_of(self, versions: Iterable[SourceVersion]) -> dict[SourceVersion, float]:
        wanted = list(dict.fromkeys(versions))
        made_from_it, roots = self._forest(wanted)
        for root in (*self._in_turn(roots), *wanted):  # what no root leads to was made from itself, in a circle
            if root not in self.found:
                self._walk(root, made_from_it)
        return {version: self.found[version] for version in wanted}

    def _forest(
        self, versions: Sequence[SourceVersion]
    ) -> tuple[dict[SourceVersion, list[SourceVersion]], list[SourceVersion]]:
        """What was made of each version alone, and the versions that were not made of one other alone.

        A version whose source is this node's own ends a lineage, so it is a root.
        """
        made_from_it: dict[SourceVersion, list[SourceVersion]] = {}
        roots = []
        waiting, seen = list(versions), set(versions)
        while waiting:
            version = waiting.pop()
            origins = self.derived.get(version, frozenset())
            if len(origins) != 1 or version[1] in self.own_sources:
                roots.append(version)
                continue
            (origin,) = origins
            made_from_it.setdefault(origin, []).append(version)
            if origin not in seen:
                seen.add(origin)
                waiting.append(origin)
        return made_from_it, roots

    def _in_turn(self, roots: Iterable[SourceVersion]) -> list[SourceVersion]:
        """Those of authors that come first, then the first of each other author, the second of each, and so on."""
        turns: dict[bytes, int] = {}
        ordered = []
        for author, source in sorted(roots):
            turns[author] = turns.get(author, 0) + 1
            ordered.append((not self.comes_first(author), turns[author], author, source))
        return [(author, source) for _, _, author, source in sorted(ordered)]

    def _walk(self, root: SourceVersion, made_from_it: Mapping[SourceVersion, Sequence[SourceVersion]]) -> None:
        """Note what a root is expected to bring, and everything that was made from it."""
        lineage = self._lineage(root)
        parting = frozenset(version for version in lineage if version[1] in self.own_sources)
        path = _Path(self.hopeful, self.own_sources, self._own_since(parting))
        for version in sorted(lineage):
            path.enter(version)
        waiting = [(root, True)]
        while waiting:
            version, enters = waiting.pop()
            if not enters:
                path.leave()
            elif version not in self.found:
                path.enter(version)
                self.found[version] = min(path.total, MAX_CLAIMED_GAIN)
                waiting.append((version, False))
                waiting += [(other, True) for other in made_from_it.get(version, ())]

    def _lineage(self, root: SourceVersion) -> AbstractSet[SourceVersion]:
        """The lineage that leads to a version, from where it parted from this node's (which is included)."""
        if root[1] in self.own_sources or root not in self.derived or self.steps_left <= 0:
            return {root}
        lineage = ancestry(self.derived, root, until=self.own_sources)
        self.steps_left -= len(lineage)
        return lineage

    def _own_since(self, parting: frozenset[SourceVersion]) -> Mapping[str, float]:
        """What this node's best has gained by category since a parting; beyond the limit of walks, all it has."""
        if self.own.best in source_ids(parting):
            return {}
        if self.steps_left <= 0 and parting not in self.own_since:
            parting = frozenset()
        if parting not in self.own_since:
            shared = ancestry(self.derived, *parting)
            self.steps_left -= len(shared) + len(self.own.lineage)
            self.own_since[parting] = self.own.gains_since(source_ids(shared))
        return self.own_since[parting]


class _Path:
    """The claims on the way from a parting to a version, which is entered and left version by version.

    Where several authors claim the same source, the largest claim counts, once. `total` is what the claims come to
    beyond own gains of the same category.
    """

    def __init__(self, hopeful: ClaimedGains, own_sources: AbstractSet[bytes], own: Mapping[str, float]) -> None:
        self._hopeful = hopeful
        self._own_sources = own_sources
        self._own = own
        self._largest: dict[bytes, Mapping[str, float]] = {}
        self._gains: dict[str, float] = {}
        self._before: list[tuple[SourceVersion, Mapping[str, float] | None, dict[str, float], float]] = []
        self.total = 0.0

    def enter(self, version: SourceVersion) -> None:
        _, source = version
        counted = self._largest.get(source)
        claimed = self._hopeful.get(version, {}) if source not in self._own_sources else {}
        replaces = sum(claimed.values()) > sum((counted or {}).values())
        changed = (claimed.keys() | (counted or {}).keys()) if replaces else frozenset()
        self._before.append((version, counted, {name: self._gains.get(name, 0.0) for name in changed}, self.total))
        if not replaces:
            return
        self._largest[source] = claimed
        for name in sorted(changed):
            was = self._gains.get(name, 0.0)
            now = was + claimed.get(name, 0.0) - (counted or {}).get(name, 0.0)
            self._gains[name] = now
            self.total += self._beyond_own(name, now) - self._beyond_own(name, was)

    def leave(self) -> None:
        """Leave the version that was entered last."""
        (_, source), counted, gains, self.total = self._before.pop()
        self._gains |= gains
        if counted is not None:
            self._largest[source] = counted
        elif gains:
            del self._largest[source]

    def _beyond_own(self, category: str, gain: float) -> float:
        return max(0.0, gain - self._own.get(category, 0.0))
