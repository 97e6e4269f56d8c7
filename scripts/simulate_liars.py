"""What does it take to be believed, and how far do liars get? The project's own evidence on simulated swarms.

    .venv/bin/python scripts/simulate_liars.py [--swarms 400]

In every swarm one discovery is claimed and up to 15 peers re-run it, one after the other, each on seeds of its own;
after each, the peers chosen by hash audit or arbitrate until none has anything to do. Records are real ones and the
standing is what every node works out from them; only the training is random numbers (a pair differs by .35 %, some
machines are noisier; the true effect varies by 15 % from machine to machine). A share of the peers lies, all of them
together: they invent a report (.8 % better to confirm, .8 % worse to deny), find every honest report wrong and every
lie right.

The table gives the share of swarms in which the discovery became "confirmed", and how many reports that took. The
reference is a prototype of the same rule in which arbiters and auditors are called without records.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from protocol.audits import REPORT_PAIRS, Turn, case_of, is_enough
from protocol.evidence import standing_of
from protocol.identity import Identity
from protocol.records import Audit, Body, Effect, Experiment, Pair, Record, Replication, Run
from protocol.seeds import report_proof, seeds_in

PEERS = 15
SHARES = (0.0, 0.2, 0.33)
PAIRED_DEVIATION = 0.0035  # in ln(metric)
MACHINES = (1.0, 1.4, 0.7)  # noise of each kind of machine, in paired deviations
FROM_MACHINE_TO_MACHINE = 0.15  # standard deviation of the true effect, as a share of it
LIE, LIE_SE = 0.008, 0.002  # size and standard error of an invented effect
VALUE = 2.3  # metric of the parent; any would do
REFERENCE = {  # P(confirmed) of the prototype at SHARES: "clipped z + audit, k = 3"
    "does nothing": (0.007, 0.04, 0.25),
    "harms by .3 %": (0.0, 0.01, 0.12),
    "helps by .6 %": (1.0, 0.97, 0.85),
}
CASES = (("does nothing", 0.0, "confirm"), ("harms by .3 %", 0.003, "confirm"), ("helps by .6 %", -0.006, "deny"))


def name(*parts: object) -> bytes:
    return hashlib.sha256(" ".join(map(str, parts)).encode()).digest()


PARENT, CHILD, OBJECTIVE = name("parent"), name("child"), name("objective")


@dataclass
class Swarm:
    """Peers, honest and not, around one discovery. Effects are J: negative is better."""

    number: int
    truth: float
    liars: float
    purpose: str
    records: list[Record] = field(default_factory=list)
    runs: int = 0  # for reports and audits

    def __post_init__(self) -> None:
        self.dice = random.Random(f"{self.number} {self.truth} {self.liars}")
        identities = (Identity.from_seed(name("peer", self.number, n)) for n in range(PEERS))
        self.identities = {identity.author: identity for identity in identities}
        self.peers = list(self.identities)
        self.lying = set(self.dice.sample(self.peers, round(self.liars * PEERS)))
        self.claim = self.say(name("claimant", self.number), self._claim())

    def say(self, author: bytes, body: Body) -> Record:
        """A record as it is after the door; signatures are not what is simulated here."""
        seq = sum(record.author == author for record in self.records)
        payload = name("payload", self.number, len(self.records))
        record = Record(author, OBJECTIVE, seq, bytes(32), 0, body, payload, b"")
        self.records.append(record)
        return record

    def _claim(self) -> Experiment:
        run = Run(VALUE, 10.0, 1000, (), None)
        effect = Effect(-0.01, 0.002, 1)
        return Experiment(
            "An idea", "activation", "", "catalogue", PARENT, CHILD, name("fingerprint"), "cpu", "a processor", "",
            "improved", effect, None, None, None, (Pair(1, run, run),),
        )  # fmt: skip

    def report(self, peer: bytes) -> None:
        """Sign a report with the pairs of this peer's own seeds: honestly run, or invented."""
        deviation = PAIRED_DEVIATION * self.dice.choice(MACHINES)
        here = self.truth * (1 + FROM_MACHINE_TO_MACHINE * self.dice.gauss(0, 1))
        lie = LIE if self.purpose == "deny" else -LIE
        lies = peer in self.lying
        pairs: tuple[Pair, ...] = ()
        differences: list[float] = []
        proof = report_proof(self.identities[peer], OBJECTIVE, self.claim.id, PARENT, CHILD)
        for seed in seeds_in(proof, REPORT_PAIRS):
            differences.append(lie if lies else here + deviation * self.dice.gauss(0, 1))
            pairs = (*pairs, Pair(seed, _run(VALUE), _run(VALUE * math.exp(differences[-1]))))
            count = len(pairs)
            error = LIE_SE if lies else deviation / math.sqrt(count)
            effect = Effect(math.fsum(differences) / count, error, count)
            if is_enough(effect):
                break
        self.runs += 2 * len(pairs)
        body = Replication(
            self.claim.id, PARENT, CHILD, "cpu", "a processor", "", "unclear", effect, None, pairs, None, "", None,
            platform="one for all", proof=proof,
        )  # fmt: skip
        self.say(peer, body)

    def audit(self, peer: bytes, turn: Turn) -> None:
        """Honest peers find honest reports right and lies wrong; liars the other way round."""
        right = (peer in self.lying) == (turn.report.author in self.lying)
        found = turn.pair if right else Pair(turn.pair.seed, turn.pair.parent, _run(VALUE * math.exp(-0.001)))
        self.runs += 2
        self.say(peer, Audit(self.claim.id, turn.report.id, "cpu", "a processor", "one for all", "", found))

    def settle(self) -> None:
        """Let each peer that is chosen audit or arbitrate, until none is."""
        for _ in range(10 * PEERS):
            case = case_of(self.claim, self.records, "cpu")
            for peer in self.peers:
                turn = case.turn_of(peer, self.peers)
                if turn is not None and turn.rank == 0:
                    self.audit(peer, turn)
                    break
            else:
                return
        raise RuntimeError("the audits of one report do not come to an end")

    def decide(self) -> tuple[str, int, int, int]:
        """The verdict, and the reports, the audits and the runs it took."""
        for peer in self.peers:
            self.report(peer)
            self.settle()
            verdict = standing_of(self.claim, self.records).verdict
            if verdict != "open":
                break
        made = [sum(isinstance(record.body, kind) for record in self.records) for kind in (Replication, Audit)]
        return verdict, made[0], made[1], self.runs


def _run(value: float) -> Run:
    return Run(value, 0.0, 0, (), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swarms", type=int, default=400)
    options = parser.parse_args()
    print(f"{options.swarms} swarms of {PEERS} peers a row")
    print("| the edit | liars want to | liars | confirmed | reference | refuted | reports | audits | runs |")
    print("|---|---|---|---|---|---|---|---|---|")
    worse = False
    for what, truth, purpose in CASES:
        for share, expected in zip(SHARES, REFERENCE[what], strict=True):
            found = [Swarm(number, truth, share, purpose).decide() for number in range(options.swarms)]
            confirmed = sum(verdict == "confirmed" for verdict, *_ in found) / options.swarms
            refuted = sum(verdict == "refuted" for verdict, *_ in found) / options.swarms
            reports, audits, runs = (sum(row[n] for row in found) / options.swarms for n in (1, 2, 3))
            print(
                f"| {what} | {purpose} | {100 * share:.0f} % | {confirmed:.3f} | {expected:.3f} | {refuted:.3f} "
                f"| {reports:.1f} | {audits:.1f} | {runs:.0f} |",
                flush=True,
            )
            chance = 2.5 * math.sqrt(max(expected * (1 - expected), 0.01) / options.swarms)
            worse |= (confirmed - expected) * (1 if purpose == "confirm" else -1) > chance
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
