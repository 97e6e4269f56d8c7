"""karpathy/autoresearch and its forks: a fixed prepare.py, one edited train.py, a program.md, a block of results.

The forks differ in what they run on (CUDA, Apple's MPS and MLX, Windows), in budgets and in what else they print. All
of that is read from the files. What a run prints is progress by "\\r" on one line, then `---` and `key: value` lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from node.authoring.importing.environment import caches_in, description_of, find_environment, imports_of
from node.authoring.importing.folder import Folder
from node.authoring.importing.recognised import (
    MACHINE_LEARNING,
    BudgetFound,
    Choice,
    EnvironmentFound,
    MetricFound,
    Recognised,
)
from node.authoring.importing.seeds import find_seeds
from protocol.metric import Direction, Scale

FAMILY = "karpathy/autoresearch"
SOURCE, FIXED, DIRECTION = "train.py", "prepare.py", "program.md"
HISTORY = "results.tsv"
MODELS_CACHE = "~/.cache/huggingface/hub"
COMPILING_SECONDS = 300.0  # of the first run on a machine: kernels are compiled and loaded
# ln(val_bpb) between seeds: 0.002 bits per byte of about 1, by what was reported of long searches on one kind of GPU.
SPREAD = 0.002

_EVALUATE = re.compile(r"^def (evaluate_?\w*)\(", re.MULTILINE)
_BUDGET = re.compile(r"^TIME_BUDGET\s*=\s*(\d+(?:\.\d+)?)", re.MULTILINE)
_KILL = re.compile(r"exceeds (\d+) minutes")
_RUN = re.compile(r"(uv run(?: python)? train\.py|python3? train\.py)")
_READ = re.compile(r"grep \"\^(\w+):")
_PRINTED = re.compile(r"""print\(f?["'](\w+):\s""")


def recognise(folder: Folder, choice: Choice) -> Recognised | None:
    """The folder as one of this family; None where it is none."""
    fixed, source, words = folder.text(FIXED), folder.text(SOURCE), folder.text(DIRECTION)
    evaluate = _EVALUATE.search(fixed)
    if not source or evaluate is None or "prepare" not in imports_of(source):
        return None
    printed = _PRINTED.findall(source)
    metric = _metric(words, source, printed)
    seconds = float(found[1]) if (found := _BUDGET.search(fixed)) else None
    name, description = description_of(folder)
    measuring = tuple(path for path in folder.files if path.endswith(".py") and path != SOURCE)
    platform, device, note = _platform(fixed, source)
    return Recognised(
        family=FAMILY + (f" ({platform})" if platform else ""),
        certain=evaluate[1] == "evaluate_bpb" and bool(words),
        why=f"{FIXED} with {evaluate[1]}, {SOURCE} that imports it" + (f", {DIRECTION}" if words else ""),
        name=name or folder.root.name,
        summary=description or "Trains a model for a fixed time and prints its score.",
        editable=(SOURCE,),
        metric=metric,
        command={
            "run": found[1] if (found := _RUN.search(words)) else f"{_python(folder)} {SOURCE}",
            "values": "block",
            # Printed when the loss explodes, at the end of the progress line.
            **({"failed_by": ["FAIL"]} if "FAIL" in source else {}),
        },
        seeds=find_seeds(folder, (SOURCE,), measuring),
        environment=_environment(folder),
        budget=BudgetFound(
            wall_seconds=_wall_seconds(words, seconds),
            seconds=seconds,
            warmup_seconds=COMPILING_SECONDS if device == "gpu" else None,
            threads=4 if device == "gpu" else 1,
            memory_mb=16384 if device == "gpu" else 2048,
        ),
        device=device,
        categories=MACHINE_LEARNING,
        spread=SPREAD,
        minimum_effect=0.0005 if metric.name == "val_bpb" else 0.002,
        needed=tuple(path for path in (FIXED, DIRECTION) if folder.has(path)),
        history=HISTORY if folder.has(HISTORY) else None,
        notes=tuple(_notes(folder, note)),
    )


def _environment(folder: Folder) -> EnvironmentFound:
    """The packages, the data, and the attention kernel where one is fetched: that is done by a run of train.py."""
    prepare = f"{_python(folder)} {FIXED}"
    if not _fetches_a_kernel(folder):
        return find_environment(folder, (FIXED, SOURCE), prepare)
    found = find_environment(folder, (FIXED, SOURCE), f"{prepare} && {_python(folder)} {SOURCE}")
    return replace(found, paths=tuple(dict.fromkeys((*found.paths, MODELS_CACHE))))


def _fetches_a_kernel(folder: Folder) -> bool:
    return "kernels" in imports_of(folder.text(SOURCE))


def _notes(folder: Folder, platform: str | None) -> Iterator[str]:
    """What a person should know."""
    if platform is not None:
        yield platform
    if _fetches_a_kernel(folder):
        yield f"{SOURCE} fetches its attention kernel when it starts; the last command of `prepare` does that once"
    if caches := caches_in(folder.text(FIXED)):
        yield (
            f"~/.cache/{caches[0]} is no part of the objective's id: values compare with those of peers whose "
            f"{FIXED} made the same there"
        )
    else:
        yield f"{FIXED} names no folder below ~/.cache; if it keeps data, name their folder in environment.paths"


def _metric(words: str, source: str, printed: list[str]) -> MetricFound:
    """The name that program.md greps for first, or the first that is printed after the line `---`."""
    after = _PRINTED.findall(source.rpartition('"---"')[2])
    named = [name for name in _READ.findall(words) if name in printed]
    name = next(iter([*named, *after, *printed]), "val_bpb")
    higher = re.search(
        rf"(?:highest|maximi[sz]e) (?:the )?`?{name}|{name}`?[^.\n]{{0,40}}higher is better", words, re.I
    )
    return MetricFound(
        name,
        "bits per byte" if name.endswith("bpb") else "",
        Direction.HIGHER if higher else Direction.LOWER,
        Scale.LOG,
        f"the last line `{name}: NUMBER` of what {SOURCE} prints",
    )


def _platform(fixed: str, source: str) -> tuple[str, str, str | None]:
    """(which fork, device, what a person should know)."""
    if "mlx" in imports_of(source) | imports_of(fixed):
        return "MLX", "gpu", "it computes with MLX, on a Mac with Apple silicon only"
    if re.search(r"""["']darwin["']|backends\.mps""", fixed + source):
        return "macOS", "gpu", "it computes on a Mac's GPU by MPS; prepare.py refuses other machines"
    if re.search(r"LOCALAPPDATA|os\.name [!=]= .nt|win32", fixed + source):
        return "Windows, RTX", "gpu", "it was made for Windows; runs here need the Linux sandbox, in WSL for example"
    if "torch" in imports_of(source) and re.search(r"""["']cuda|\.cuda\b""", source + fixed):
        return "", "gpu", None
    return "", "cpu", None


def _python(folder: Folder) -> str:
    return "uv run" if folder.has("pyproject.toml") or folder.has("uv.lock") else "python3"


def _wall_seconds(words: str, seconds: float | None) -> float:
    """The time after which the repository itself gives a run up, with room for compiling."""
    if found := _KILL.search(words):
        return 60.0 * float(found[1]) + COMPILING_SECONDS
    return 600.0 if seconds is None else 2 * seconds + COMPILING_SECONDS
