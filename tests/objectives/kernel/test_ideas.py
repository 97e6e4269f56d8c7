"""Every idea is a real edit of the baseline: it applies, and answers rightly unless it shows what does not."""

from __future__ import annotations

import tomllib

import pytest

from node.objective import sources
from node.proposers.catalogue import Idea, read_ideas
from tests.objectives.kernel.in_process import KERNEL, Session, baseline, judge_module, loaded

BASELINE = baseline()
REFUSED = {
    "Everything about attention in singles",
    "Products of attention in bfloat16",
    "Take denormal numbers for 0",
    "What torch.topk returns",
}
IDEAS = read_ideas(KERNEL / "ideas")


def reason_to_refuse(files: dict[str, str], changed: set[str]) -> str | None:
    """What the judge says at its gates, of which these are a part, for the kernels in these files; None for nothing."""
    judge = judge_module()
    vars(judge).update(GATE_SIZES=8, LONGER_GATES=3)
    session = Session(loaded(files), 5)
    for kernel in judge.KERNELS:
        if f"{kernel.name}.py" not in changed:
            continue
        for number, gate in enumerate(judge.gates_of(kernel, session.generator(f"gates {kernel.name}"))):
            try:
                judge.ask_in_turn(session, *gate, f"{kernel.name} {number}")
            except judge.Rejected as refusal:
                return str(refusal)
    return None


def test_there_are_many_over_all_categories() -> None:
    declared = tomllib.loads((KERNEL / "objective.toml").read_text())["categories"]
    assert len(IDEAS) >= 35
    assert {idea.category for idea in IDEAS} == set(declared)
    assert len({idea.title for idea in IDEAS}) == len(IDEAS)
    assert len({sources.fingerprint(sources.apply(BASELINE, idea.edits)) for idea in IDEAS}) == len(IDEAS)


@pytest.mark.parametrize("idea", IDEAS, ids=lambda idea: idea.title)
def test_each_answers_rightly_or_is_refused_as_it_says(idea: Idea) -> None:
    files = sources.apply(BASELINE, idea.edits)
    changed = {path for path, text in files.items() if text != BASELINE[path]}
    assert len(changed) == 1
    refused = reason_to_refuse(files, changed)
    assert (refused is not None) == (idea.title in REFUSED), refused


def test_ideas_of_different_kernels_bear_company() -> None:
    kept = dict(BASELINE)
    for title in (
        "Flows in arrays that stay",
        "Heat in the type that it came in",
        "Attention of singles and halves in singles",
        "Attention in blocks of queries",
        "A bound from the largest of each group",
        "Sort whole numbers in the place of floats",
    ):
        (idea,) = (idea for idea in IDEAS if idea.title == title)
        kept = sources.apply(kept, idea.edits)
    assert reason_to_refuse(kept, set(kept)) is None
