"""One simulated node: where its search stands, the bets it has made since its last claim, and what it has heard.

It tries ideas, proves chains of bets and tries peers' claims, by the node's own rules; every such thing says how many
runs it took. Who hears of it, and when, is `swarm`'s.
"""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from node.objective.schema import Prior
from node.proposers.hearsay import STRANGERS, Hearsay
from node.proposers.proposer import TriedResult
from node.proposers.reopening import Distance, closed
from node.review.trust import CLAIM_HOLDS, SUPPORTED_HOLDS, adoption_discount, author_discount
from node.trials.bet_rule import BetRule, attributed, chain_of, claim_is_due, runs_of_proof
from node.trials.gain_posterior import GainPosterior, gain_prior, value_of_new_idea
from node.trials.opportunity_cost import gain_per_run
from simulated_swarm.trials import Tried, tried, verified
from simulated_swarm.world import (
    CATEGORIES,
    MACHINE_NOISE,
    NOISE,
    PRIORS,
    STATISTICS,
    Edit,
    Idea,
    Source,
    World,
    luck,
    merged,
)

# The gain (ln) that the objective's own priors expect of a run on a new idea, of any category alike.
EXPECTED_OF_A_RUN = statistics.fmean(value_of_new_idea(gain_prior(prior), NOISE) for prior in PRIORS.values())


@dataclass
class Claim:
    """A chain of bets that its author has proven.

    start, tip: the sources whose runs it compares. gains: what the author has from each category, by its own
    measurements. found: which of the ideas in use the author found itself. drawn: the nodes chosen to report on it.
    tried, adopted: local trials of it at other nodes so far.
    """

    author: int
    start: Source
    tip: Source
    gains: Mapping[str, float]
    found: frozenset[Idea]
    drawn: frozenset[int] = frozenset()
    tried: int = 0
    adopted: int = 0


@dataclass(frozen=True)
class Bet:
    """A step of the search that is not proven yet. before: the source that it edited."""

    edit: Edit
    before: Source
    gain: GainPosterior


@dataclass
class Machine:
    """One simulated machine, and how fast it is (1 is the mean). luck: of its source's run at the screening seed;
    luck_apart: of that at the secret seed of local trials, None where it was not made yet."""

    number: int
    world: World
    rng: random.Random
    speed: float
    source: Source = ()
    chain: list[Bet] = field(default_factory=list)
    unproven: int = 0  # bets of the chain when it was last verified in vain
    luck: float = 0.0
    luck_apart: float | None = None
    gain_by_category: dict[str, float] = field(default_factory=dict)
    results: list[TriedResult] = field(default_factory=list)
    authors: list[int] = field(default_factory=list)  # of the results
    own: list[tuple[float, int]] = field(default_factory=list)  # of own trials: the gain that was kept, and runs
    path: list[tuple[Source, float]] = field(default_factory=list)  # each step's source, and what it gained
    tried: dict[Source, set[Edit]] = field(default_factory=dict)  # by this node
    said: dict[Source, dict[Edit, set[int]]] = field(default_factory=dict)  # by others, and who says so
    said_in_vain: dict[tuple[Source, Edit], set[int]] = field(default_factory=dict)  # before it was tried here
    times_said: defaultdict[int, Counter[Edit]] = field(default_factory=lambda: defaultdict(Counter))  # by author
    proven: set[int] = field(default_factory=set)  # authors found right here
    believes: bool = False  # whoever says so: all were proven from the start, and nothing is rechecked
    hearsay: Hearsay = field(default_factory=Hearsay)
    disbelieved: set[int] = field(default_factory=set)  # in the hypothesis that is being made
    recheck: bool = False  # in that one, whether nobody else is believed
    heeds_leases: bool = True  # in that one
    times: Counter[Edit] = field(default_factory=Counter)  # how often an edit was tried, on any source
    own_times: Counter[Idea] = field(default_factory=Counter)  # how often this node itself tried it alone
    merges: Counter[tuple[Source, Idea]] = field(default_factory=Counter)  # of several leads, in which one took part
    leads: dict[Idea, float] = field(default_factory=dict)  # peers' bets, with what is believed of their gain
    claims: list[Claim] = field(default_factory=list)  # heard of, and not tried here yet
    reports: list[Claim] = field(default_factory=list)  # to make
    tried_in_vain: set[Idea] = field(default_factory=set)  # in use in what this node tried without adopting it
    found: set[Idea] = field(default_factory=set)  # by this node itself
    opportunity_cost: float = 0.0  # gain expected of a run that is spent on own ideas
    successes: dict[int, list[bool]] = field(default_factory=dict)  # by author: whether each trial led to adoption
    heard: int = 0  # messages so far
    spent: Counter[str] = field(default_factory=Counter)  # runs, by what they were for

    def __post_init__(self) -> None:
        self.luck = luck(self.rng)

    @property
    def value(self) -> float:
        return self.world.value(self.source)

    @property
    def start(self) -> Source:
        """The source before the chain."""
        return self.chain[0].before if self.chain else self.source

    def recent_gain_per_run(self) -> float:
        """The gain of each run of its own last trials, and of what was expected of them."""
        return gain_per_run(self.own, EXPECTED_OF_A_RUN)

    def note(self, source: Source, edit: Edit, author: int, in_vain: bool = True) -> None:
        """An edit was tried on a source, as this author says."""
        self.times[edit] += 1
        if author == self.number:
            self.tried.setdefault(source, set()).add(edit)
            return
        self.said.setdefault(source, {}).setdefault(edit, set()).add(author)
        self.times_said[author][edit] += 1
        if in_vain and edit not in self.tried.get(source, ()):
            self.said_in_vain.setdefault((source, edit), set()).add(author)

    def hear(self, result: TriedResult, author: int) -> None:
        self.results.append(replace(result, proven=self.is_proven(author)))
        self.authors.append(author)

    def is_proven(self, author: int) -> bool:
        return self.believes or author == self.number or author in self.proven

    def found_right(self, author: int) -> None:
        """From now on this author's word counts by itself."""
        if not self.is_proven(author):
            self.proven.add(author)
            for index, by in enumerate(self.authors):
                if by == author:
                    self.results[index] = replace(self.results[index], proven=True)

    def begin_hypothesis(self) -> None:
        """Settle who is not believed in the next one."""
        if self.believes:
            return
        recheck = self.recheck = self.hearsay.next_is_recheck()
        told = {*self.authors, *self.times_said} - {self.number}
        self.disbelieved = {one for one in told if recheck or self.hearsay.is_wrong(self._counted_as(one))}
        self.heeds_leases = not (recheck or self.hearsay.is_wrong(STRANGERS))

    def _counted_as(self, author: int) -> bytes:
        return b"%d" % author if self.is_proven(author) else STRANGERS

    def believed_results(self) -> list[TriedResult]:
        if not self.disbelieved:
            return self.results
        return [one for one, by in zip(self.results, self.authors, strict=True) if by not in self.disbelieved]

    def believed_times(self, edit: Edit) -> int:
        """How often an edit was tried, on any source, as far as that is believed now."""
        return self.times[edit] - sum(self.times_said[author][edit] for author in self.disbelieved)

    def rechecked(self, edits: list[Edit]) -> list[Edit]:
        """Of these edits those that have failed here only by the word of who is not believed, if there are any."""
        return [edit for edit in edits if self.disbelieved & self.said_in_vain.get((self.source, edit), set())] or edits

    def categories_to_recheck(self) -> set[str]:
        """Where ideas are that others say have failed on this source, if nobody is believed this time."""
        if not self.recheck:
            return set()
        return {edit[0][0] for source, edit in self.said_in_vain if source == self.source}

    def closing(self) -> dict[Source, set[Edit]]:
        """The edits that need not be tried again, by the source they were tried on."""
        found = {source: set(edits) for source, edits in self.tried.items()}
        for source, said in self.said.items():
            found.setdefault(source, set()).update(edit for edit, by in said.items() if by - self.disbelieved)
        return found

    def closed(self) -> frozenset[str]:
        """The edits, as text, that were tried in vain elsewhere, and not enough has changed here since.

        Since the last source on this node's way that the one they were tried on has all ideas of, as it was made from
        it. An idea that a peer went on from is not closed by that.
        """
        way = [(), *(source for source, _ in self.path)]
        tries: dict[str, list[Distance]] = {}
        for source, edits in self.closing().items():
            shared = max(number for number, one in enumerate(way) if set(one) <= set(source))
            gain = math.fsum(gain for _, gain in self.path[shared:])
            away = Distance(len(set(self.source) - set(way[shared])), gain)
            for edit in edits:
                if source in way or edit[0] not in self.leads:
                    tries.setdefault(str(edit), []).append(away)
        return closed(tries)

    # ---- own ideas -------------------------------------------------------------------------------------------------

    def try_idea(self, edit: Edit, expected: Prior) -> Tried:
        """One run of an idea on the present source, and more while they are worth it."""
        gain = self.world.value(merged(self.source, edit)) - self.value
        rule = BetRule(MACHINE_NOISE, STATISTICS, gain_prior(expected), self.opportunity_cost)
        found = tried(self.rng, gain, rule, self.luck)
        self.spent["own ideas"] += found.runs
        return found

    def learn(self, source: Source, edit: Edit, found: Tried) -> None:
        """Go on from the idea if it is a bet."""
        kept = found.is_bet and self.source == source
        sayers = self.said_in_vain.get((source, edit), set())
        self.hearsay.count({self._counted_as(author) for author in sayers}, kept)
        if len(edit) == 1:
            self.own_times.update(edit)
        self.own.append((max(0.0, found.gain.mean) if kept else 0.0, found.runs))
        if kept:
            bet = Bet(edit, self.source, found.gain)
            self.chain.append(bet)
            self._count_bet(bet, found.gain.mean)
            self._stand_on(merged(self.source, edit), found.luck, found.gain.mean)
            if len(edit) == 1:
                self.found.update(edit)

    def open_leads(self) -> list[Idea]:
        """Peers' bets that are believed to gain more than what is in use here, and were not tried here alone."""
        return [
            idea
            for idea, gain in self.leads.items()
            if gain > self.gain_by_category.get(idea[0], 0.0) and idea not in self.source and not self.own_times[idea]
        ]

    def _stand_on(self, source: Source, luck_of_run: float, gain: float) -> None:
        self.path.append((source, gain))
        self.source, self.luck, self.luck_apart = source, luck_of_run, None

    def _count_bet(self, bet: Bet, gain: float) -> None:
        """Count a gain for the categories of a bet, in equal parts."""
        for category, _ in bet.edit:
            self._count(category, gain / len(bet.edit))

    def _count(self, category: str, gain: float) -> None:
        self.gain_by_category[category] = self.gain_by_category.get(category, 0.0) + gain

    # ---- claims ----------------------------------------------------------------------------------------------------

    def claim_is_due(self, last: bool = False) -> bool:
        """Whether to prove the chain now. last: before something is adopted on top of it."""
        if len(self.chain) == self.unproven:
            return False
        gain = chain_of([bet.gain for bet in self.chain])
        if last:
            return runs_of_proof(gain, MACHINE_NOISE, STATISTICS) is not None
        return claim_is_due(gain, MACHINE_NOISE, STATISTICS, self.recent_gain_per_run())

    def prove(self) -> tuple[int, Claim | None]:
        """Verify the chain: the runs it took, and the claim if it holds. Where it shows no gain it is cut."""
        start = self.start
        found = verified(self.rng, self.value - self.world.value(start))
        runs, claim = found.runs, None
        if found.decision == "improved":
            gains = attributed([bet.gain for bet in self.chain], found.gain)
            for bet, gain in zip(self.chain, gains, strict=True):
                self._count_bet(bet, gain - bet.gain.mean)
            claim = Claim(self.number, start, self.source, dict(self.gain_by_category), frozenset(self.found))
            self.chain, self.unproven, self.luck = [], 0, found.luck
        elif found.decision == "no_gain":
            runs += len(self.chain) - 1
            self._cut()
        else:
            self.unproven = len(self.chain)
        self.spent["claims"] += runs
        return runs, claim

    def _cut(self) -> None:
        """Back to the source of the chain that is best at a seed which chose none of them."""
        sources = [bet.before for bet in self.chain]
        lucks = [luck(self.rng) for _ in sources]
        best = max(range(len(sources)), key=lambda number: self.world.value(sources[number]) - lucks[number])
        for bet in self.chain[best:]:
            self._count_bet(bet, -bet.gain.mean)
            self.found -= set(bet.edit)
        del self.path[best - len(self.chain) :]
        del self.chain[best:]
        self.unproven = len(self.chain)
        self.source, self.luck, self.luck_apart = sources[best], lucks[best], None

    # ---- peers' claims ---------------------------------------------------------------------------------------------

    def expected_gains(self, claim: Claim) -> dict[str, float]:
        """What the claimed source has from each category beyond this node's, by what is claimed."""
        found = {}
        for category, number in claim.tip:
            more = claim.gains.get(category, 0.0) - self.gain_by_category.get(category, 0.0)
            if more > 0 and (category, number) not in self.tried_in_vain and (category, number) not in self.source:
                found[category] = more
        return found

    def next_claim(self) -> Claim | None:
        """The claim of the largest expected gain, if it is worth its runs."""
        worth = {id(claim): self._expected(claim) for claim in self.claims}
        self.claims = [claim for claim in self.claims if worth[id(claim)] > 0]
        if not self.claims:
            return None
        best = max(self.claims, key=lambda claim: worth[id(claim)])
        value = value_of_new_idea(gain_prior(self._prior(best)), NOISE)
        return best if value >= self.opportunity_cost else None

    def _expected(self, claim: Claim) -> float:
        return math.fsum(self.expected_gains(claim).values()) * self._discount(claim)

    def _discount(self, claim: Claim) -> float:
        """The factor by which trials in vain lower an expected gain: peers' of this claim, own ones of its author's."""
        own = author_discount(self.successes.get(claim.author, []))
        return min(adoption_discount(claim.adopted, claim.tried), own)

    def _prior(self, claim: Claim) -> Prior:
        holds = SUPPORTED_HOLDS if any(self.successes.get(claim.author, [])) else CLAIM_HOLDS
        return Prior(holds * self._discount(claim), math.fsum(self.expected_gains(claim).values()))

    def try_claim(self, claim: Claim) -> tuple[int, bool, Claim | None]:
        """Try a claim's adoption candidates: the runs it took, whether one was adopted, and what was claimed before.

        Both lineages are merged. Of ideas of a category first the peer's is taken, if it is claimed to gain more in one
        that both have worked on, then this node's; else the other way round.
        """
        expected = self.expected_gains(claim)
        rule = BetRule(MACHINE_NOISE, STATISTICS, gain_prior(self._prior(claim)), self.opportunity_cost)
        runs = 0
        if self.luck_apart is None:
            self.luck_apart, runs = luck(self.rng), 1
        ours, theirs = merged(claim.tip, self.source), merged(self.source, claim.tip)
        candidates = (theirs, ours) if expected.keys() & self.gain_by_category.keys() else (ours, theirs)
        told = None
        for source in dict.fromkeys(candidates):
            found = tried(self.rng, self.world.value(source) - self.value, rule, self.luck_apart)
            runs += found.runs
            if found.is_bet and found.effect.mean < 0:
                self.spent["adoptions"] += runs
                before = self.source
                if self.claim_is_due(last=True):
                    more, told = self.prove()
                    runs += more
                if self.source != before:
                    return runs, False, told  # it was compared with bets that do not hold
                self._adopt(claim, source, found, expected)
                return runs, True, told
        self.spent["trials in vain"] += runs
        self.claims.remove(claim)
        claim.tried += 1
        self.successes.setdefault(claim.author, []).append(False)
        self.tried_in_vain |= claim.found & set(claim.tip)
        return runs, False, None

    def _adopt(self, claim: Claim, source: Source, found: Tried, expected: Mapping[str, float]) -> None:
        self.claims.remove(claim)
        claim.tried, claim.adopted = claim.tried + 1, claim.adopted + 1
        self.successes.setdefault(claim.author, []).append(True)
        self.found_right(claim.author)
        total = math.fsum(expected.values())
        for category, more in expected.items():
            self._count(category, found.gain.mean * more / total)
        self.chain, self.unproven = [], 0
        self._stand_on(source, found.luck, found.gain.mean)

    def adopt_for_nothing(self, claim: Claim) -> None:
        """Take over whatever makes this node's source really better, without a run."""
        sources = (merged(claim.tip, self.source), merged(self.source, claim.tip))
        gain, source = max((self.world.value(source) - self.value, source) for source in sources)
        if gain > 0:
            self.found_right(claim.author)
            for category, more in self.expected_gains(claim).items():
                self._count(category, more)
            self._stand_on(source, luck(self.rng), gain)


def cost_of(edit: Edit) -> float:
    """Of a run, beside one of the baseline."""
    return math.prod(CATEGORIES[category][2] for category, _ in edit)
