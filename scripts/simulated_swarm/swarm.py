"""A simulated swarm: nodes at work in one world, what each hears of the others, and the time that everything takes.

Time is counted in runs of a node of average speed. A node does one thing after the other; what it has reviewed for
others delays its own next idea, and such work without an adoption has a share of its runs at most, as in the program.
"""

from __future__ import annotations

import heapq
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

from node.ledger.leases import LEASES_PER_PEER, Leases
from node.objective.schema import Prior
from node.proposers import beliefs as arms
from node.proposers.beliefs import ANY_CATEGORY, Arm, Belief, beliefs, ranking
from node.proposers.proposer import TriedResult
from node.proposers.recombine import MOST_IDEAS, MOST_IN_PAIRS, MOST_IN_TRIPLES, MOST_MERGES, TOGETHER, UNSEEN
from node.proposers.strategy import EXTERNAL_PRIORS
from node.research.candidates import PATIENCE_RUNS
from protocol.evidence import REPORTS_NEEDED
from protocol.messages import Lease
from simulated_swarm.machine import Claim, Machine, cost_of
from simulated_swarm.trials import Tried, runs_of_report
from simulated_swarm.world import (
    CATEGORIES,
    IDEAS,
    NOISE,
    PRIORS,
    STATISTICS,
    Edit,
    Source,
    World,
    fingerprint,
    merged,
    source_id,
)

GOAL = 0.8  # share of the attainable gain at which the clock stops
SPEED_SPREAD = 0.6  # standard deviation of ln(speed) among nodes
LATENCY = 0.15  # runs until a record has reached the other nodes
MOST_TIME = 600.0  # runs, after which a swarm is given up
REVIEW_SHARE = 0.2  # `replicate_share`
AUDIT_RUNS = 2  # both runs of one pair
RECOMBINE = Arm(ANY_CATEGORY, "recombine")
ARMS = [Arm(name, "catalogue") for name in CATEGORIES]
LEASES = "evidence + leases"
ALL_REPORT, THREE_REPORT = "evidence + leases, all report", "evidence + leases, three report"
VERIFIED = (ALL_REPORT, THREE_REPORT)  # the modes in which verification costs runs
LEASED = (LEASES, *VERIFIED)
FAILED, ALL_FAILED, PRAISE = "what helps has failed", "everything has failed", "what does not help gains"
TRYING = "we are trying what helps, again and again"
LIES = (FAILED, ALL_FAILED, PRAISE, TRYING)
LIAR = -1
MOST_LEASE = 1000  # runs
WORTHLESS = 0.0055  # gain expected of a success, under which liars praise a category
MODES = ("isolated", "champion", "evidence", *LEASED)


@dataclass(frozen=True)
class Result:
    """A finished trial on its way to the other nodes."""

    source: Source
    edit: Edit
    result: TriedResult
    found: Tried


@dataclass(frozen=True)
class Message:
    at: float
    author: int
    about: Result | Claim


class Swarm:
    """Nodes at work in one world, from the start until one of them has reached the goal."""

    def __init__(self, world: World, size: int, mode: str, lies: str = "", believed: bool = False) -> None:
        """lies: one of LIES, told of every source of every node. believed: by nodes that take everybody's word."""
        self.world, self.size, self.mode, self.lies = world, size, mode, lies
        rng = random.Random(f"swarm {world.seed}")
        self.draw = random.Random(f"draw {world.seed}")
        speeds = [math.exp(rng.gauss(0, SPEED_SPREAD)) for _ in range(size)]
        mean = statistics.fmean(speeds) if size > 1 else speeds[0]
        self.nodes = [
            Machine(n, world, random.Random(f"{world.seed} {n}"), speed / mean) for n, speed in enumerate(speeds)
        ]
        for node in self.nodes:
            node.believes = believed
        self.told: set[tuple[int, Source]] = set()  # nodes that the liars have told of a source
        self.messages: list[Message] = []
        self.leases = Leases()
        self.seen: set[tuple[Source, Edit]] = set()
        self.ended: set[tuple[bytes, bytes]] = set()
        self.trials = self.repeated = self.claims = 0

    def run(self) -> float:
        """The time (runs) it took, infinity when it was too long."""
        pending: list[tuple[float, int, Callable[[float], None]]] = []
        for node in self.nodes:
            at = node.rng.random() * 0.5
            heapq.heappush(pending, (at, node.number, lambda now: None))
        while pending:
            now, number, finish = heapq.heappop(pending)
            if now > MOST_TIME:
                break
            finish(now)
            node = self.nodes[number]
            if node.value >= GOAL * self.world.attainable:
                return now
            seconds, finish = self._next(node, now)
            heapq.heappush(pending, (now + seconds, number, finish))
        return math.inf

    def spent(self) -> Counter[str]:
        return sum((node.spent for node in self.nodes), Counter())

    # ---- one turn of a node ----------------------------------------------------------------------------------------

    def _next(self, node: Machine, now: float) -> tuple[float, Callable[[float], None]]:
        """What a node does next: the seconds until it is done, and what happens then."""
        self._listen(node, now)
        if self.lies and (node.number, node.source) not in self.told:
            self.told.add((node.number, node.source))
            tell_lies(node, self.lies)
        if self.lies == TRYING:
            lease_what_helps(node, self.leases, now)
        runs, told = self._review(node) if self.mode in VERIFIED else (0, [])
        if not told and node.chain and node.claim_is_due():
            proof, claim = node.prove()
            return (runs + proof) / node.speed, lambda at: self._tell(node, at, [claim] if claim is not None else [])
        if told:
            return runs / node.speed, lambda at: self._tell(node, at, told)
        node.begin_hypothesis()
        believed = beliefs(
            [*ARMS, RECOMBINE] if node.leads else ARMS,
            PRIORS | {"recombine": EXTERNAL_PRIORS["recombine"]},
            node.believed_results(),
            source_id(node.source),
            node.gain_by_category,
            arms.Machine("cpu", 1 / node.speed, NOISE, STATISTICS.max_pairs, {}),
        )
        patience = (math.inf if node.believes else PATIENCE_RUNS / node.speed) if node.heeds_leases else 0.0
        peers_by_category = self.leases.peers_by_category(now, self.ended, patience) if self.mode in LEASED else {}
        arm, edit = self._edit(node, ranking(believed, node.rng, peers_by_category), now, patience)
        of_arm: Belief = next(belief for belief in believed if belief.arm == arm)
        node.opportunity_cost = min(of_arm.score / node.speed, node.recent_gain_per_run())
        source = node.source
        found = node.try_idea(edit, Prior(of_arm.chance, of_arm.gain))
        seconds = (runs + found.runs * cost_of(edit)) / node.speed
        if self.mode in LEASED:
            lease = Lease(source_id(source), fingerprint(edit), max(1, math.ceil(3 / node.speed)), edit[0][0])
            for _ in range(1 + int(seconds)):  # renewed while the trial goes on
                self.leases.hear(str(node.number), lease, now + seconds)
        node.note(source, edit, node.number)
        node.merges.update((source, idea) for idea in edit if len(edit) > 1)
        self.repeated += (source, edit) in self.seen
        self.seen.add((source, edit))
        self.trials += 1
        return seconds, lambda at: self._end(node, at, source, edit, arm, found)

    def _edit(self, node: Machine, order: list[Arm], now: float, patience: float) -> tuple[Arm, Edit]:
        node.tried.setdefault(node.source, set())
        taken = self.leases.taken(source_id(node.source), now, patience) if self.mode in LEASED else frozenset()
        first = node.categories_to_recheck()
        order = sorted(order, key=lambda arm: arm.category not in first)
        for heeded in (taken, frozenset()) if taken else (taken,):
            for arm in order:
                free = [edit for edit in _edits_of(node, arm) if fingerprint(edit) not in heeded]
                if free and arm == RECOMBINE:
                    return arm, free[0]
                if free:
                    free = node.rechecked(free)
                    least = min(node.believed_times(edit) for edit in free)
                    return arm, node.rng.choice([edit for edit in free if node.believed_times(edit) == least])
        # Nothing is left that is worth another try: begin again, for a verdict may have been chance.
        node.tried.clear()
        node.said.clear()
        return self._edit(node, ARMS, now, patience)

    def _end(self, node: Machine, now: float, source: Source, edit: Edit, arm: Arm, found: Tried) -> None:
        self.ended.add((source_id(source), fingerprint(edit)))
        result = TriedResult(
            source_id(source),
            b"",
            edit[0][0],
            "",
            arm.proposer,
            found.effect.mean,
            "unclear" if found.is_bet else "no_gain",
            {},
            "cpu",
            found.runs,
            cost_of(edit),
            error=found.effect.se,
            bet=found.is_bet,
        )
        node.hear(result, node.number)
        node.learn(source, edit, found)
        if self.mode != "isolated":
            self.messages.append(Message(now, node.number, Result(source, edit, result, found)))

    def _tell(self, node: Machine, now: float, proven: list[Claim]) -> None:
        for claim in proven:
            self.claims += 1
            if self.mode != "isolated":
                others = [other.number for other in self.nodes if other is not node]
                self.draw.shuffle(others)
                claim.drawn = frozenset(others if self.mode == ALL_REPORT else others[:REPORTS_NEEDED])
                self.messages.append(Message(now, node.number, claim))

    # ---- what a node does with what it hears -----------------------------------------------------------------------

    def _listen(self, node: Machine, now: float) -> None:
        """Take in what was announced: everything, or only discoveries."""
        while node.heard < len(self.messages) and self.messages[node.heard].at <= now - LATENCY:
            message = self.messages[node.heard]
            node.heard += 1
            if message.author == node.number:
                continue
            about = message.about
            if isinstance(about, Claim):
                if self.mode not in VERIFIED:
                    node.adopt_for_nothing(about)
                    continue
                node.claims.append(about)
                if node.number in about.drawn:
                    node.reports.append(about)
            elif self.mode != "champion":
                node.hear(about.result, message.author)
                node.note(about.source, about.edit, message.author, not about.found.is_bet)
                if about.found.is_bet and len(about.edit) == 1:
                    (idea,) = about.edit
                    node.leads[idea] = max(node.leads.get(idea, 0.0), UNSEEN * about.found.gain.mean)

    def _review(self, node: Machine) -> tuple[int, list[Claim]]:
        """Local trials and reports, while they have had less than their share: the runs, and what is proven."""
        runs, told = 0, list[Claim]()
        while True:
            in_vain, for_others = node.spent["trials in vain"], node.spent["reports"] + node.spent["audits"]
            if in_vain + for_others > REVIEW_SHARE * node.spent.total():
                break
            claim = node.next_claim()
            if claim is not None and (not node.reports or in_vain <= for_others):
                more, _, proven = node.try_claim(claim)
                runs += more
                if proven is not None:
                    told.append(proven)
            elif node.reports:
                about = node.reports.pop(0)
                report = runs_of_report(node.rng, self.world.value(about.tip) - self.world.value(about.start))
                node.spent["reports"] += report
                node.spent["audits"] += AUDIT_RUNS
                runs += report + AUDIT_RUNS
            else:
                break
        return runs, told


def lease_what_helps(node: Machine, leases: Leases, now: float) -> None:
    """Strangers, with as many keys as they need, say that they try now what would help this node's source."""
    edits: list[Edit] = [((category, number),) for category in CATEGORIES for number in range(IDEAS)]
    helping = [edit for edit in edits if node.world.value(merged(node.source, edit)) > node.value]
    for number, edit in enumerate(helping):
        lease = Lease(source_id(node.source), fingerprint(edit), MOST_LEASE, edit[0][0])
        leases.hear(f"liar {number // LEASES_PER_PEER} of {node.number}", lease, now)


def tell_lies(node: Machine, lies: str) -> None:
    """Strangers say of this node's source what hurts it most: in enough records to outweigh all others."""
    sid = source_id(node.source)
    for category in CATEGORIES:
        for number in range(IDEAS):
            edit: Edit = ((category, number),)
            helps = node.world.value(merged(node.source, edit)) > node.value
            if lies == ALL_FAILED or (lies == FAILED and helps):
                node.note(node.source, edit, LIAR)
                told = TriedResult(sid, b"", category, "", "catalogue", 0.01, "no_gain", {}, "cpu", error=0.002)
                node.hear(told, LIAR)
        if lies == PRAISE and PRIORS[category].gain < WORTHLESS:
            told = TriedResult(sid, b"", category, "", "catalogue", -0.5, "unclear", {}, "cpu", error=0.002, bet=True)
            for _ in range(IDEAS):
                node.hear(told, LIAR)


def _edits_of(node: Machine, arm: Arm) -> list[Edit]:
    """What an arm has to propose that was not tried on this source; of recombination single leads, pairs and
    triples of the best, what is expected to gain most first."""
    tried, closed = node.closing().get(node.source, set()), node.closed()
    if arm != RECOMBINE:
        used = dict(node.source).get(arm.category)
        ideas: list[Edit] = [((arm.category, n),) for n in range(IDEAS) if n != used]
        return [edit for edit in ideas if edit not in tried and str(edit) not in closed]
    best = sorted(node.open_leads(), key=lambda idea: -node.leads[idea])[:MOST_IDEAS]
    free = [idea for idea in best if node.merges[node.source, idea] < MOST_MERGES]
    edits: list[Edit] = [(idea,) for idea in best if str((idea,)) not in closed]
    edits += [*combinations(free[:MOST_IN_PAIRS], 2), *combinations(free[:MOST_IN_TRIPLES], 3)]
    different = [edit for edit in edits if len(dict(edit)) == len(edit) and edit not in tried]
    return sorted(different, key=lambda edit: -sum(node.leads[idea] for idea in edit) * TOGETHER ** (len(edit) - 1))
