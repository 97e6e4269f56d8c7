"""Which runs can be ended early by their loss, and what is lost by it? tinylm's known ideas, recorded and replayed.

    .venv/bin/python scripts/early_ends.py FOLDER [--tokens 65536]

Every idea of tinylm's catalogue that applies is run to the end on the baseline and on a parent that has some of them,
with the seed of its parent's run, in this process. Values and loss curves are kept in FOLDER, a line a run, so that a
second start goes on; on one core it takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from in_process import trained, value

from node.execution.run_progress import Progress, RunProgress, part_at
from node.objective.edits import EditError, apply, fingerprint
from node.objective.load import load_objective
from node.objective.schema import Objective
from node.proposers.catalogue import Idea, read_ideas

TINYLM = Path(__file__).resolve().parent.parent / "objectives" / "tinylm"
PARENTS = {  # what each has of the catalogue, and the seed of its runs
    "the baseline": ((), 1),
    "a better one": (("LeCun initialisation, embeddings 0.02", "Rotary positions, base 100", "Squared ReLU"), 2),
}
ITSELF = ""  # the title of a parent's own run


@dataclass(frozen=True)
class Recorded:
    """A run that went to its end. title: of the idea, ITSELF for the parent itself. value: None where it failed."""

    parent: str
    category: str
    title: str
    value: float | None
    cpu_seconds: float
    curve: tuple[tuple[float, float], ...]


def run_of(objective: Objective, source: str, seed: int) -> tuple[float | None, float, tuple[tuple[float, float], ...]]:
    """The value of a run in this process, None where it fails; its CPU seconds, and its curve."""
    progress, part, begun = RunProgress(b""), [0, 0.0, 0], time.process_time()

    def told(share: float, loss: float) -> None:
        if not math.isfinite(loss):
            raise ArithmeticError(f"the loss is {loss}")
        if part_at(share) != part[0]:
            part[:] = part_at(share), 0.0, 0
        part[1:] = part[1] + loss, part[2] + 1
        progress.note(Progress(share, part[1] / part[2], 0.0, "train"))

    try:
        found: float | None = value(objective, trained(objective, source, seed, told=told), seed)
    except Exception as error:  # whatever a source does
        print(f"  {type(error).__name__}: {error}", flush=True)
        found = None
    return found, time.process_time() - begun, tuple(progress.curve)


def children(parent: str, ideas: Sequence[Idea]) -> Iterator[tuple[Idea, str]]:
    """The ideas that change this source, and what they make of it."""
    known = {fingerprint(parent)}
    for idea in ideas:
        try:
            child = apply(parent, idea.edits)
        except EditError:
            continue
        if fingerprint(child) not in known:
            known.add(fingerprint(child))
            yield idea, child


def record(objective: Objective, path: Path) -> None:
    """Make all runs that the file does not have, those of each parent after its own, and add each to it."""
    ideas = read_ideas(TINYLM / "ideas")
    by_title = {idea.title: idea for idea in ideas}
    known = {(run.parent, run.title) for run in recorded(path)}
    for parent, (titles, seed) in PARENTS.items():
        source = objective.source
        for title in titles:
            source = apply(source, by_title[title].edits)
        runs = [("", ITSELF, source), *((idea.category, idea.title, it) for idea, it in children(source, ideas))]
        for category, title, text in runs:
            if (parent, title) in known:
                continue
            run = Recorded(parent, category, title, *run_of(objective, text, seed))
            with path.open("a") as file:
                file.write(json.dumps(asdict(run)) + "\n")
            print(f"{parent}: {title or 'itself'}: {run.value} in {run.cpu_seconds:.1f} CPU s", flush=True)


def recorded(path: Path) -> list[Recorded]:
    """The runs of a file; none where there is no such file."""
    if not path.exists():
        return []
    return [Recorded(**json.loads(line)) for line in path.read_text().splitlines()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokens", type=int, default=65_536, help="per run")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    found = load_objective(TINYLM, options.folder / "data")
    objective = replace(found, budget=replace(found.budget, tokens=options.tokens))
    path = options.folder / f"runs-{options.tokens}.jsonl"
    record(objective, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
