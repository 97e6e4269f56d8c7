"""Which discoveries of tinylm's small scale still gain at its larger ones? Twelve of them at all three scales.

    .venv/bin/python scripts/transfer_table.py CACHE [--seeds 2] [--share 1.0]

Ideas that are known to help are tried at the small scale first, at a seed of their own, and the twelve that gain most
there are the discoveries; what they gain is then measured at other seeds, alike at every scale. All but one are edits
of the baseline with a sound initialisation, since the plain one hides what others do. Runs are trained and judged in
this one process: gains are those on the metric, and neither CPU time nor the length of a source counts.

CACHE is a file of JSON lines with a value each, which are not measured again; without --seeds that are not in it the
table is printed of what is there. --share: of each scale's tokens, for a machine with little time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from in_process import trained, value

from node.ledger.projections.effects import gain, gain_error, gain_figures
from node.ledger.projections.transfers import ALL, Comparison, carry_over
from node.objective.edits import Edit, apply
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.proposers.catalogue import read_ideas
from node.trials.statistics import shrunk_effect
from node.trials.trial import judged
from protocol.metric import LOSS
from protocol.records import Effect, ReplicationDecision, TransferDecision

TINYLM = Path(__file__).resolve().parent.parent / "objectives" / "tinylm"
SOUND = "LeCun initialisation, embeddings 0.02"
KNOWN = (
    "Muon for the blocks' matrices",
    "Five times the learning rate for embeddings",
    "Second moment over 20 steps (beta2 0.95)",
    "Learning rate 3e-3",
    "Linear decay to zero",
    "Batch of 8",
    "Rotary positions, base 100",
    "Normalise queries and keys",
    "Value embeddings",
    "Mix each byte's embedding with the one before",
    "Normalise the embeddings",
    "Squared ReLU",
    "Three layers",
    "Width 96",
    "Zero the projections that write to the residual stream",
    "No weight decay",
)
DISCOVERIES = 12
CHOICE_SEED = 0  # at which discoveries are chosen; what they gain is measured at seeds 1, 2, ...
DECIDED = {
    ReplicationDecision.SUPPORTS: TransferDecision.CARRIES_OVER,
    ReplicationDecision.CONTRADICTS: TransferDecision.LOST,
    ReplicationDecision.UNCLEAR: TransferDecision.UNCLEAR,
}


@dataclass
class Values:
    """Values of runs, from the file or made now; with `only_known` none is made, and one that is missing is None."""

    path: Path
    only_known: bool = False
    known: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            self.known = {row["run"]: row["value"] for row in map(json.loads, self.path.read_text().splitlines())}

    def of(self, objective: Objective, source: str, seed: int) -> float | None:
        """The value of a source at a seed, under the objective's scale and tokens."""
        digest = hashlib.sha256(source.encode()).hexdigest()[:16]
        run = f"{objective.id.hex()[:16]} {objective.scale} {objective.budget.tokens} {digest} {seed}"
        if run not in self.known and not self.only_known:
            self.known[run] = value(objective, trained(objective, source, seed), seed)
            with self.path.open("a") as file:
                file.write(json.dumps({"run": run, "value": self.known[run]}) + "\n")
        return self.known.get(run)


@dataclass(frozen=True)
class Discovery:
    """An idea with the source that it was tried on."""

    title: str
    category: str
    parent: str
    child: str


def discoveries(small: Objective, values: Values) -> list[Discovery]:
    """Those of the known ideas that gain most at the small scale, the largest gain first."""
    ideas: Mapping[str, tuple[str, tuple[Edit, ...]]] = {
        idea.title: (idea.category, tuple(idea.edits)) for idea in read_ideas(TINYLM / "ideas")
    }
    sound = apply(small.source, ideas[SOUND][1])
    found = [Discovery(SOUND, ideas[SOUND][0], small.source, sound)]
    found += [Discovery(title, ideas[title][0], sound, apply(sound, ideas[title][1])) for title in KNOWN]
    differences = [(effect_at(small, each, values, [CHOICE_SEED]), each) for each in found]
    gaining = [(effect.mean, each) for effect, each in differences if effect is not None and effect.mean < 0]
    return [each for _, each in sorted(gaining, key=lambda row: row[0])[:DISCOVERIES]]


def effect_at(objective: Objective, discovery: Discovery, values: Values, seeds: list[int]) -> Effect | None:
    """The effect on the metric at these seeds; None where no pair is known."""
    differences = []
    for seed in seeds:
        before, after = values.of(objective, discovery.parent, seed), values.of(objective, discovery.child, seed)
        if before is not None and after is not None:
            differences.append(LOSS.difference(before, after))
    return shrunk_effect(differences, objective.statistics.s0) if differences else None


def compare(scales: list[Objective], found: list[Discovery], values: Values, seeds: list[int]) -> list[str]:
    """The lines of the tables: each discovery at each scale, and what carries over by category."""
    larger = scales[1:]
    rows, comparisons = [], []
    for each in found:
        effects = [effect_at(scale, each, values, seeds) for scale in scales]
        rows.append(f"| {each.title} | {each.category} | {' | '.join(map(_text, effects))} |")
        first = effects[0]
        if first is None or first.mean >= 0:
            continue
        for scale, effect in zip(larger, effects[1:], strict=True):
            if effect is not None:
                decision = DECIDED[judged(effect)]
                comparisons.append(Comparison(each.category, 1.0, scale.scale, first, effect, decision))
    names = ["small", *(scale.scale for scale in larger)]
    lines = [f"| discovery | category | {' | '.join(names)} |", "|---|---|" + "---|" * len(names), *rows, ""]
    lines += ["| category | scale | carry over | rate | gain there / here |", "|---|---|---|---|---|"]
    for scale in larger:
        for row in carry_over(comparisons, scale.scale):
            name = "all" if row.category == ALL else row.category
            ratio = "–" if row.ratio is None else f"{row.ratio:.2f} ± {row.ratio_error:.2f}"
            carried = f"{row.carried:.0f} of {row.tried:.0f}"
            lines.append(f"| {name} | {row.scale} | {carried} | {row.rate:.2f} ± {row.rate_error:.2f} | {ratio} |")
    return lines


def _text(effect: Effect | None) -> str:
    if effect is None:
        return "–"
    shown, error = gain_figures(gain(effect, LOSS), gain_error(effect, LOSS), " %")
    return f"{shown} % ± {error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--only-known", action="store_true", help="make no runs")
    options = parser.parse_args()
    own = load_objective(TINYLM, TINYLM)
    scales = [own, *(own.at_scale(scale.name) for scale in own.larger_scales)]
    assert own.budget.tokens is not None
    scales = [
        replace(scale, budget=replace(scale.budget, tokens=round(options.share * (scale.budget.tokens or 0))))
        for scale in scales
    ]
    values = Values(options.cache, options.only_known)
    found = discoveries(scales[0], values)
    for seed in range(1, options.seeds + 1):  # row by row, so that a table of fewer seeds or rows can be had early
        for each in found:
            for scale in scales:
                effect_at(scale, each, values, [seed])
    print("\n".join(compare(scales, found, values, list(range(1, options.seeds + 1)))))


if __name__ == "__main__":
    main()
