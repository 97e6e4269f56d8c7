"""AutoKernel: one edited kernel.py, and a fixed bench.py that checks what it computes and times it on a GPU.

bench.py ends with status 0 where a kernel computes wrongly, and prints the same names several times: the last of each
counts, and `correctness` has to be PASS.
"""

from __future__ import annotations

import re

from node.authoring.importing.environment import description_of, find_environment
from node.authoring.importing.folder import Folder
from node.authoring.importing.recognised import KERNELS, BudgetFound, Choice, MetricFound, Recognised
from node.authoring.importing.seeds import find_seeds
from protocol.metric import Direction, Scale

FAMILY = "AutoKernel"
SOURCE, BENCH, HISTORY = "kernel.py", "bench.py", "results.tsv"
METRIC = "throughput_tflops"
BENCH_SECONDS, HUNG_SECONDS, COMPILING_SECONDS = 90.0, 180.0, 120.0  # as its program.md has them, but for the last
SPREAD = 0.01  # of ln(throughput); it keeps what gains 1 %

_KERNEL_TYPE = re.compile(r"^KERNEL_TYPE\s*=\s*[\"'](\w+)", re.MULTILINE)


def recognise(folder: Folder, choice: Choice) -> Recognised | None:
    """The folder as AutoKernel's; None where it is none."""
    source, bench = folder.text(SOURCE), folder.text(BENCH)
    kind = _KERNEL_TYPE.search(source)
    if kind is None or "correctness:" not in bench or METRIC not in bench:
        return None
    gpu = re.search(r"\bcuda\b", bench) is not None
    name, description = description_of(folder)
    python = "uv run" if folder.has("pyproject.toml") else "python3"
    environment = find_environment(folder)
    return Recognised(
        family=FAMILY,
        certain=True,
        why=f"{SOURCE} with KERNEL_TYPE, {BENCH} that prints correctness and {METRIC}",
        name=f"{name or folder.root.name} {kind[1]}",
        summary=f"The {kind[1]} kernel: {description or 'faster, and right'}",
        editable=(SOURCE,),
        metric=MetricFound(
            METRIC, "TFLOPS", Direction.HIGHER, Scale.LOG, f"the last line `{METRIC}: NUMBER` that {BENCH} prints"
        ),
        command={"run": f"{python} {BENCH}", "values": "block", "require": {"correctness": "PASS"}},
        seeds=find_seeds(folder, (SOURCE,), (BENCH,)),
        environment=environment,
        budget=BudgetFound(
            wall_seconds=HUNG_SECONDS + COMPILING_SECONDS,
            seconds=BENCH_SECONDS,
            warmup_seconds=COMPILING_SECONDS,
            threads=4 if gpu else 1,
            memory_mb=16384 if gpu else 2048,
        ),
        device="gpu" if gpu else "cpu",
        categories=KERNELS,
        spread=SPREAD,
        minimum_effect=0.005,
        needed=(BENCH,),
        history=HISTORY if folder.has(HISTORY) else None,
        notes=("there is no lock file, so peers may have other versions: `uv lock` makes one",)
        if environment and environment.lock is None
        else (),
    )
