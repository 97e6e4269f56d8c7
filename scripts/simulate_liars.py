"""What does it take to be believed, and what do liars get who do what hurts most? Swarms on the node's own rules.

    .venv/bin/python scripts/simulate_liars.py [--swarms 10] [--only NAME]

Twelve honest nodes run one claim after another: every second is a gain of .6 %, the others do nothing. Each node makes
a local trial of one run, adopts what looks better, and then reports and audits what its review cases ask of it
(`node/review/case.py`), beside ten runs on own ideas between two claims. Records are real ones, and weights and
standings are what every node works out from them; only the training is random numbers (a pair differs by .35 %, some
machines are noisier, and the true effect varies by 15 % from machine to machine). The first claims are a history; from
then on the liars act, all of them together, on every claim: they call what does nothing better and what is better
harmful.

Liars do not wait to be asked. See `STRATEGIES` for what they do.

The table shows, of the claims after the history, how many honest nodes hold a wrong verdict at the end, how many hold a
right one, what claims cost, and which share of the honest nodes' runs went to what liars wrote. *Alike* is the same
evidence where every key's reports count in full, as in the rule before: three reports that another key agreed with.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.ledger.projections.discoveries import Discovery
from node.review.case import Here, ReviewCase, Turn
from node.review.trust import may_run_for_strangers, runs_in, trust, wasted_on_strangers
from protocol.audits import REPORT_PAIRS, is_enough
from protocol.evidence import OwnRuns, Report, Verdict, standing, standing_of
from protocol.identity import Identity
from protocol.records import Audit, Body, Effect, Experiment, Pair, Record, Replication, Run
from protocol.seeds import own_secret, report_proof, seeds_in
from protocol.weights import Weights, weights_of

HONEST = 12
HISTORY, ATTACKED = 20, 6  # claims before liars act, and after
GAIN = 0.006  # in ln, of every second claim
PAIRED_DEVIATION = 0.0035  # in ln(metric)
MACHINES = (1.0, 1.4, 0.7)  # noise of each kind of machine, in paired deviations
FROM_MACHINE_TO_MACHINE = 0.15  # standard deviation of the true effect, as a share of it
LIE, LIE_SE = 0.012, 0.001  # size and standard error of an invented effect
ADOPTS_FROM = 0.0025  # gain that one run of a local trial must show
OWN_PAIRS = 5  # of own ideas between two claims, two runs each
MOST_WAITS = 5  # how often others' time passes before a claim is left
VALUE = 2.3  # metric of the parent; any would do
OBJECTIVE = hashlib.sha256(b"objective").digest()


@dataclass(frozen=True)
class Strategy:
    """What liars do. keys: for every honest node.

    behaved: they work honestly through the history, so that honest nodes have found them right. fresh: keys for every
    liar that it makes when it begins to lie, and whose reports it finds right. claims: they also claim, a gain of 5 %,
    each with a new key. lucky: they invent nothing, and only report what suits them. silent: they only take their
    place, and do nothing.
    """

    name: str
    keys: float
    behaved: bool = False
    fresh: int = 0
    claims: int = 0
    lucky: bool = False
    silent: bool = False


STRATEGIES = (
    Strategy("nobody lies", 0),
    Strategy("3 fresh keys", 0.25),
    Strategy("10 fresh keys a node", 10),
    Strategy("10 fresh keys a node, each with a claim", 10, claims=30),
    Strategy("a fifth, who first behaved", 0.25, behaved=True),
    Strategy("half, who first behaved", 1, behaved=True),
    Strategy("half, who behaved, and 10 keys each", 1, behaved=True, fresh=10),
    Strategy("half, who behaved, report only luck", 1, behaved=True, lucky=True),
    Strategy("half, who behaved, refuse to report", 1, behaved=True, silent=True),
)


def name(*parts: object) -> bytes:
    return hashlib.sha256(" ".join(map(str, parts)).encode()).digest()


def _run(value: float) -> Run:
    return Run(value, 0.0, 0, (), None)


@dataclass
class Claim:
    record: Record
    truth: float  # J
    about: list[Record] = field(default_factory=list)
    by_liar: bool = False
    runs: int = 0  # of honest nodes, for local trials, reports and audits


@dataclass
class Swarm:
    """One swarm. Effects are J: negative is better."""

    number: int
    strategy: Strategy

    def __post_init__(self) -> None:
        self.dice = random.Random(f"{self.number} {self.strategy.name}")
        self.records: list[Record] = []
        self.feeds: dict[bytes, list[Record]] = {}
        self.identities: dict[bytes, Identity] = {}
        self.honest = [self._key("honest", n) for n in range(HONEST)]
        self.liars = [self._key("liar", n) for n in range(round(self.strategy.keys * HONEST))]
        self.lying = set(self.liars)
        self.deviation = {a: PAIRED_DEVIATION * MACHINES[n % 3] for n, a in enumerate(self.identities)}
        self.lies: set[bytes] = set()  # reports that were made up, by id
        self.claims: dict[bytes, Claim] = {}
        self.by_id: dict[bytes, Record] = {}
        self.weights: dict[bytes, Weights] = {}
        self.secrets = {author: own_secret(identity, OBJECTIVE) for author, identity in self.identities.items()}
        self.at_once: list[float] = []  # of each gain before liars act: the share that believes it when all is quiet
        self.wasted = 0  # runs of honest nodes on what liars wrote

    def _key(self, *parts: object) -> bytes:
        identity = Identity.from_seed(name(self.number, *parts))
        self.identities[identity.author] = identity
        return identity.author

    def say(self, author: bytes, body: Body) -> Record:
        """A record as it is after the door; signatures are not what is simulated here."""
        feed = self.feeds.setdefault(author, [])
        payload = name("payload", self.number, self.strategy.name, len(self.records))
        record = Record(author, OBJECTIVE, len(feed), bytes(32), 0, body, payload, b"")
        feed.append(record)
        self.records.append(record)
        self.by_id[record.id] = record
        if isinstance(body, Replication | Audit):
            self.claims[body.discovery].about.append(record)
        return record

    # ---- what is said ----------------------------------------------------------------------------------------------

    def claim(self, author: bytes, truth: float, shown: float = -GAIN, by_liar: bool = False) -> Claim:
        number, run = len(self.claims), _run(VALUE)
        body = Experiment(
            f"Idea {number}", "activation", "", "catalogue", name("parent"), name("child", number), name(number),
            "cpu", "a processor", "", "improved", Effect(shown, 0.002, 2), None, None, None, (Pair(1, run, run),),
        )  # fmt: skip
        made = Claim(self.say(author, body), truth, by_liar=by_liar)
        self.claims[made.record.id] = made
        return made

    def report(self, author: bytes, claim: Claim, invented: float | None = None, wanted: int = 0) -> Record | None:
        """A report with the pairs of its author's own seeds: honestly run, or invented.

        wanted: its sign is that of the effect without which an honestly run report is not signed; 0 signs all.
        """
        body = claim.record.body
        assert isinstance(body, Experiment)
        proof = report_proof(self.identities[author], OBJECTIVE, claim.record.id, body.parent, body.child)
        here = claim.truth * (1 + FROM_MACHINE_TO_MACHINE * self.dice.gauss(0, 1))
        noise = self.deviation.get(author, PAIRED_DEVIATION)
        pairs: tuple[Pair, ...] = ()
        differences: list[float] = []
        effect = Effect(0.0, 0.0, 1)
        for seed in seeds_in(proof, REPORT_PAIRS):
            differences.append(here + noise * self.dice.gauss(0, 1) if invented is None else invented)
            pairs = (*pairs, Pair(seed, _run(VALUE), _run(VALUE * math.exp(differences[-1]))))
            error = noise / math.sqrt(len(pairs)) if invented is None else LIE_SE
            effect = Effect(math.fsum(differences) / len(pairs), error, len(pairs))
            if is_enough(effect):
                break
        if wanted and effect.mean * wanted < effect.se:
            return None
        against = "supports" if effect.mean < -effect.se else "contradicts" if effect.mean > effect.se else "unclear"
        record = self.say(author, Replication(
            claim.record.id, body.parent, body.child, "cpu", "a processor", "", against, effect, None, pairs, None, "",
            None, platform="one for all", proof=proof,
        ))  # fmt: skip
        if invented is not None:
            self.lies.add(record.id)
        return record

    def audit(self, author: bytes, claim: Claim, report: Record, pair: Pair, agrees: bool) -> None:
        found = pair if agrees else Pair(pair.seed, pair.parent, _run(VALUE * math.exp(-0.0007)))
        self.say(author, Audit(claim.record.id, report.id, "cpu", "a processor", "one for all", "", found))

    # ---- honest nodes ----------------------------------------------------------------------------------------------

    def here(self, me: bytes) -> Here:
        if me not in self.weights:
            self.weights[me] = weights_of(self.records, me)
        weights, feed = self.weights[me], self.feeds.get(me, [])
        near = [*feed, *(claim.record for claim in self.claims.values()), *self._audited_by(me)]
        wasted = wasted_on_strangers(near, me, weights, trust(near, me))
        allowed = may_run_for_strangers(feed, wasted)
        # Whoever is connected: honest nodes and as many of the liars as a node has places for.
        peers = HONEST + min(len(self.liars), HONEST)
        steps = {r.id for r in feed if isinstance(r.body, Replication) and r.body.adopted is not None}
        return Here(me, "cpu", weights, self.secrets[me], steps, peers, allowed)

    def _audited_by(self, me: bytes) -> list[Record]:
        return [self.by_id[r.body.report] for r in self.feeds.get(me, []) if isinstance(r.body, Audit)]

    def case(self, me: bytes, claim: Claim, here: Here | None = None) -> ReviewCase:
        here = here or self.here(me)
        body = claim.record.body
        assert isinstance(body, Experiment)
        found = Discovery(
            claim.record,
            body,
            tuple(r for r in claim.about if isinstance(r.body, Replication)),
            tuple(r for r in claim.about if isinstance(r.body, Audit)),
            standing_of(claim.record, claim.about, here.weights),
        )
        return ReviewCase(found, here)

    def try_here(self, me: bytes, claim: Claim) -> None:
        """A local trial of one run, and an adoption where it shows enough."""
        here = self.here(me)
        if me == claim.record.author or not self._may_run_for(here, claim):
            return
        self._spend(claim, 1, claim.by_liar)
        shown = claim.truth + self.deviation[me] * self.dice.gauss(0, 1)
        effect = Effect(shown, self.deviation[me], 1)
        body = claim.record.body
        assert isinstance(body, Experiment)
        adopted = shown < -ADOPTS_FROM
        self.say(me, Replication(
            claim.record.id, body.parent, body.child, "cpu", "a processor", "", "unclear", None, None, (),
            body.child if adopted else None, "child" if adopted else "", effect if adopted else None, body.parent,
        ))  # fmt: skip

    def _may_run_for(self, here: Here, claim: Claim) -> bool:
        author = claim.record.author
        return here.for_strangers or here.weights.counts(author) or self._found_right(here.me, author)

    def _found_right(self, me: bytes, author: bytes) -> bool:
        """Whether this node adopted or supports a claim of this author."""
        bodies = [record.body for record in self.feeds.get(me, []) if isinstance(record.body, Replication)]
        right = (body.discovery for body in bodies if body.adopted or body.decision == "supports")
        return any(self.claims[claim].record.author == author for claim in right)

    def work(self, claim: Claim, react: Callable[[], None]) -> None:
        """Let every honest node try the claim, report on it and audit, until nobody is asked any more."""
        for me in self.dice.sample(self.honest, HONEST):
            self.try_here(me, claim)
        waits = 0
        while waits <= MOST_WAITS:
            done = [me for me in self.dice.sample(self.honest, HONEST) if self._one_task(me, claim, waits)]
            if done:
                react()
            else:
                waits += 1

    def _one_task(self, me: bytes, claim: Claim, waits: int) -> bool:
        here = self.here(me)
        case = self.case(me, claim, here)
        of_use = case.adopted
        task = case.audit(1.0, of_use)
        if task is not None and isinstance(task.audit, Turn):
            report = task.audit.report
            self._spend(claim, 2, report.id in self.lies)
            self.audit(me, claim, report, task.audit.pair, report.id not in self.lies)
            self.weights.pop(me)
            return True
        if me == claim.record.author or not self._may_run_for(here, claim):
            return False
        task = case.report(1.0, of_use)
        if task is None or task.waits > waits:
            return False
        made = self.report(me, claim)
        assert made is not None
        self._spend(claim, runs_in(made), claim.by_liar)
        return True

    def _spend(self, claim: Claim, runs: int, for_liars: bool) -> None:
        claim.runs += runs
        self.wasted += runs if for_liars else 0

    def research(self) -> None:
        """Own ideas of every honest node, in vain."""
        run = _run(VALUE)
        for me in self.honest:
            pairs = tuple(Pair(n, run, run) for n in range(OWN_PAIRS))
            self.say(me, Experiment(
                "own", "activation", "", "catalogue", name("parent"), name(me, len(self.records)), name("own"), "cpu",
                "a processor", "", "no_gain", None, None, None, None, pairs,
            ))  # fmt: skip

    # ---- liars -----------------------------------------------------------------------------------------------------

    def behave(self, claim: Claim) -> None:
        """What a liar does while it wants to be believed: a third of them report, and find honest reports right."""
        for liar in self.dice.sample(self.liars, max(1, len(self.liars) // 3)):
            self.report(liar, claim)
        reports = [r for r in claim.about if isinstance(r.body, Replication) and r.body.pairs]
        for liar in self.dice.sample(self.liars, max(1, len(self.liars) // 3)):
            self._find_right(liar, claim, self.dice.sample(reports, min(1, len(reports))))

    def _find_right(self, liar: bytes, claim: Claim, reports: Sequence[Record]) -> None:
        for report in reports:
            if report.author != liar and isinstance(report.body, Replication):
                self.audit(liar, claim, report, report.body.pairs[0], agrees=True)

    def lie(self, claim: Claim, keys: Sequence[bytes]) -> None:
        """All report at once that a claim is what it is not, and find each other right."""
        effect = LIE if claim.truth < 0 else -LIE
        lucky = self.strategy.lucky
        made = [self.report(key, claim, None if lucky else effect, 1 if effect > 0 else -1) for key in keys]
        reports = [report for report in made if report is not None]
        for number, report in enumerate(reports):
            self._find_right(report.author, claim, reports[number + 1 : number + 4] or reports[:1])

    def deny(self, claim: Claim) -> None:
        """Find every honest report wrong."""
        audited = {(r.author, r.body.report) for r in claim.about if isinstance(r.body, Audit)}
        for report in list(claim.about):
            if isinstance(report.body, Replication) and report.body.pairs and report.author not in self.lying:
                for liar in self.liars[:5]:
                    if (liar, report.id) not in audited:
                        self.audit(liar, claim, report, report.body.pairs[0], agrees=False)

    # ---- all of it -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        strategy = self.strategy
        for number in range(HISTORY + ATTACKED):
            attacked = number >= HISTORY and bool(self.liars) and not strategy.silent
            truth = -GAIN if number % 2 else 0.0
            by_liar = attacked and not truth
            author = self.dice.choice(self.liars if by_liar else self.honest)
            claim = self.claim(author, truth, by_liar=by_liar)
            self.weights.clear()
            self.research()
            if attacked:
                extra = [self._key("fresh", number, n) for n in range(strategy.fresh * len(self.liars))]
                self.lying |= set(extra)
                self.lie(claim, [key for key in self.liars if key != author] + extra)
                for n in range(strategy.claims):
                    self.fake(f"{number} {n}")
            self.work(claim, lambda: self.deny(claim) if attacked and not strategy.lucky else None)  # noqa: B023
            if truth and number < HISTORY:
                believed = [self.case(me, claim).verdict == Verdict.CONFIRMED for me in self.honest]
                self.at_once.append(statistics.fmean(believed))
            if number < HISTORY and strategy.behaved and self.liars:
                self.behave(claim)
        self.weights.clear()

    def fake(self, about: str) -> None:
        """A claim by a key of its own, larger than all others; every honest node decides whether to try it."""
        fresh = self._key("claimant", about)
        claim = self.claim(fresh, 0.0, -0.05, by_liar=True)
        for me in self.honest:
            self.try_here(me, claim)


@dataclass(frozen=True)
class Outcome:
    """Of one swarm, over the claims after the history that are decided one way or the other in truth."""

    wrong: int  # beliefs of honest nodes
    right_gain: float  # share of honest nodes that believe a true gain in the end
    right_null: float
    alike_wrong: int  # claims that are wrong where all keys count alike
    asked: int  # claims × honest nodes
    claims: int
    runs: float  # of honest nodes for one claim
    wasted: float  # share of all their runs


def outcome_of(swarm: Swarm) -> Outcome:
    late = [claim for claim in list(swarm.claims.values())[HISTORY:] if claim.record.body.effect.mean > -0.04]  # type: ignore[union-attr]
    right: dict[bool, list[float]] = {True: [], False: []}
    wrong = 0
    for claim in late:
        wanted = Verdict.CONFIRMED if claim.truth else Verdict.REFUTED
        verdicts = Counter(swarm.case(me, claim).verdict for me in swarm.honest)
        wrong += HONEST - verdicts[wanted] - verdicts[Verdict.OPEN]
        right[claim.truth < 0].append(verdicts[wanted] / HONEST)
    runs = sum(runs_in(record) for me in swarm.honest for record in swarm.feeds[me])
    return Outcome(
        wrong,
        statistics.fmean(right[True]),
        statistics.fmean(right[False]),
        sum(
            alike(claim) not in (Verdict.OPEN, Verdict.CONFIRMED if claim.truth else Verdict.REFUTED) for claim in late
        ),
        HONEST * len(late),
        len(late),
        statistics.fmean(claim.runs for claim in late),
        swarm.wasted / runs,
    )


def alike(claim: Claim) -> Verdict:
    """The verdict where every report that another key agreed with counts in full, and nobody needs runs of its own."""
    agreed = {r.body.report for r in claim.about if isinstance(r.body, Audit)}
    reports = [
        Report(r.author, "cpu", r.body.effect, 1.0, upheld=False, known=True)
        for r in claim.about
        if isinstance(r.body, Replication) and r.body.pairs and r.body.effect is not None and r.id in agreed
    ]
    body = claim.record.body
    assert isinstance(body, Experiment)
    return standing(body, reports, {"cpu": OwnRuns()}, len(reports)).says


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swarms", type=int, default=10)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    print(f"{options.swarms} swarms of {HONEST} honest nodes a row, {ATTACKED} claims each after {HISTORY}")
    print("| liars | wrong beliefs | wrong, keys alike | gain believed | nothing believed | runs a claim | wasted |")
    print("|---|---|---|---|---|---|---|")
    bad, at_once = False, list[list[float]]()
    for strategy in STRATEGIES:
        if options.only not in strategy.name:
            continue
        found = []
        for number in range(options.swarms):
            swarm = Swarm(number, strategy)
            swarm.run()
            found.append(outcome_of(swarm))
            if not strategy.keys:
                at_once.append(swarm.at_once)
        wrong, asked = sum(one.wrong for one in found), sum(one.asked for one in found)
        alike_wrong, claims = sum(one.alike_wrong for one in found), sum(one.claims for one in found)
        gain, null, runs, wasted = (
            statistics.fmean(getattr(one, key) for one in found)
            for key in ("right_gain", "right_null", "runs", "wasted")
        )
        print(
            f"| {strategy.name} | {wrong} of {asked} ({100 * wrong / asked:.1f} %) | {alike_wrong} of {claims} "
            f"| {100 * gain:.0f} % | {100 * null:.0f} % | {runs:.0f} | {100 * wasted:.1f} % |",
            flush=True,
        )
        bad |= wrong > 0.01 * asked or wasted > 0.1
    if at_once:
        shares = [f"{100 * statistics.fmean(each):.0f}" for each in zip(*at_once, strict=True)]
        print(f"without liars, believed by so many % at once, gain after gain of a new swarm: {', '.join(shares)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
