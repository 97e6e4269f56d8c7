"""Does karpathy/autoresearch's repository, not a byte of it changed, run as an objective on a machine without a GPU?

    git clone https://github.com/karpathy/autoresearch /tmp/autoresearch
    .venv/bin/python scripts/karpathy_unchanged.py /tmp/autoresearch

Everything is done as a person with the repository would: `objective import`, `objective prepare`, `objective check
--fix`, `join`; a second node joins by invite, prepares what it was given, and re-runs what the first has kept. What
this machine lacks is stood in for outside the repository's files, and each stand-in is in the first table that is
printed. The second has what came out: values and gains, all of them self-measured.

A copy of the checkout, the nodes' homes and the caches are in a folder below /tmp, which is removed at the end.
Packages are installed by pip in the versions of the repository's uv.lock. Runs have no network.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarm_here import PROGRAM, REPOSITORY, NodeProcess, ended_afterwards
from without_gpu import SCALES

SMALLER = REPOSITORY / "scripts" / "without_gpu.py"
# Of uv.lock. torch and numpy are this node's own; the others only draw pictures.
PACKAGES = ("huggingface-hub", "kernels", "pyarrow", "requests", "rustbpe", "tiktoken")
SHARDS = (*range(10), 6542)  # that its prepare.py has by default; the last is for validation
DOCUMENTS, WORDS, NEXT = 600, 3000, 4  # of a shard; of the made-up language; that may follow a word
SETTINGS = {  # lines of objective.toml, which is ours; None: without it
    "device": None,
    "warmup_seconds": None,
    "seconds": "3",
    "wall_seconds": "180",
    "threads": "1",
    "memory_mb": "3000",
}
# Edits of train.py that are suggested: a sentence, a text that stands there once, what stands there instead.
EDITS = (
    ("Half the depth: more steps in the same time", "DEPTH = 8 ", "DEPTH = 4 "),
    ("Half the batch: twice as many steps in the same time", "TOTAL_BATCH_SIZE = 2**19", "TOTAL_BATCH_SIZE = 2**18"),
)
# So that a value follows from the seed alone, whatever the machine does meanwhile: a step takes as long as any other.
BY_STEPS = ("dt = t1 - t0", "dt = 0.1")
EXPERIMENTS = 5
SHOWN = ("gain", "claimed", "decision", "failure", "measured")  # of the log's events
# As the package `kernels` keeps what it has fetched; one for any torch, on any device.
KERNEL = Path(".cache/huggingface/hub/models--varunneal--flash-attention-3")
KERNEL_REVISION = "0" * 40
ATTENTION = '''
"""Attention without a GPU. query, key, value: (batch, time, heads, width); window_size[0]: how far is looked back."""
from types import SimpleNamespace
import torch

def attention(query, key, value, causal, window_size):
    assert causal
    query, key, value = (each.to(value.dtype).transpose(1, 2) for each in (query, key, value))
    back = torch.arange(query.size(2))[:, None] - torch.arange(key.size(2))
    seen = (back >= 0) & (back <= window_size[0])
    found = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, enable_gqa=True)
    return found.transpose(1, 2)

flash_attn_interface = SimpleNamespace(flash_attn_func=attention)
'''
UV = """#!/bin/sh
# As much of uv as the repository's commands need, where there is no such torch as uv.lock names.
set -e
if [ "$1" = sync ]; then
    [ -d .venv ] || {python} -m venv .venv
    .venv/bin/python3 -m pip install --quiet {packages}
    echo {own_packages} >"$(echo .venv/lib/python3*/site-packages)/torch.pth"
    cp {smaller} .venv/without_gpu.py
    rm -f .venv/bin/python
    printf '#!/bin/sh\\nexec "%s/bin/python3" "%s/without_gpu.py" "$@"\\n' "$PWD/.venv" "$PWD/.venv" >.venv/bin/python
    chmod +x .venv/bin/python
else
    shift
    exec .venv/bin/python "$@"
fi
"""


@dataclass
class Row:
    """What was done, and what came of it."""

    done: str
    came: str


@dataclass
class Show:
    """One run of this script: its folder, and the rows so far."""

    root: Path
    rows: list[Row] = field(default_factory=list)

    @property
    def checkout(self) -> Path:
        return self.root / "autoresearch"

    def add(self, done: str, came: str) -> None:
        self.rows.append(Row(done, came))
        print(f"  {done:<48} | {came}", flush=True)


def told(*command: str, cwd: Path | None = None) -> str:
    """What a command printed. Raises RuntimeError with that where it failed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=cwd, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def content(folder: Path) -> dict[str, str]:
    """The sha256 of a repository's files; not of git's own, of an environment or of what was written by import."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in (".git", ".venv", "objective.toml")
    }


# ---- what is stood in for --------------------------------------------------------------------------------------------


def stand_in(show: Show) -> None:
    """A home with text to learn from and a kernel, and uv."""
    locked = tomllib.loads((show.checkout / "uv.lock").read_text())["package"]
    packages = [f"{each['name']}=={each['version']}" for each in locked if each["name"] in PACKAGES]
    uv = show.root / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(
        UV.format(
            python=shlex.quote(os.path.realpath(sys.executable)),
            packages=" ".join(map(shlex.quote, packages)),
            own_packages=shlex.quote(sysconfig.get_path("purelib")),
            smaller=shlex.quote(str(SMALLER)),
        )
    )
    uv.chmod(0o755)
    os.environ["PATH"] = f"{uv.parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["HOME"] = str(show.root / "home")
    os.environ["HF_HUB_OFFLINE"] = "1"  # for `prepare` too: what it would fetch is put in its place here
    kernel = show.root / "home" / KERNEL
    program = kernel / "snapshots" / KERNEL_REVISION / "build" / "torch-universal" / "__init__.py"
    for path, text in ((kernel / "refs" / "main", KERNEL_REVISION), (program, ATTENTION)):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    told("uv", "sync", cwd=show.checkout)  # `objective prepare` does it again: here its pyarrow is needed
    data = show.root / "home" / ".cache" / "autoresearch" / "data"
    data.mkdir(parents=True)
    told(str(show.checkout / ".venv/bin/python3"), __file__, "--write-text", str(data))


def write_text(data: Path) -> None:
    """Shards of a made-up language: common and rare words, and few that may follow each, so there is much to learn."""
    import pyarrow  # type: ignore[import-not-found,unused-ignore]
    from pyarrow import parquet

    dice = random.Random(1)
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "ai", "on", "er")]
    words = ["".join(dice.choices(syllables, k=dice.randint(1, 4))) for _ in range(WORDS)]
    weights = [1 / rank for rank in range(1, WORDS + 1)]
    after = {word: dice.choices(words, weights, k=NEXT) for word in words}

    def document() -> str:
        word, found = dice.choices(words, weights)[0], []
        for _ in range(dice.randint(10, 80)):
            found.append(word)
            word = dice.choice(after[word]) if dice.random() < 0.8 else dice.choices(words, weights)[0]
        return " ".join(found).capitalize() + "."

    for number in SHARDS:
        texts = [document() for _ in range(DOCUMENTS)]
        parquet.write_table(pyarrow.table({"text": texts}), data / f"shard_{number:05d}.parquet", row_group_size=100)


def set_lines(settings: Path) -> None:
    """The settings in SETTINGS, in an objective.toml."""
    text = settings.read_text()
    for name, value in SETTINGS.items():
        new = "" if value is None else f"{name} = {value}\n"
        text, times = re.subn(rf"^{name} = .*\n", new, text, flags=re.MULTILINE)
        assert times == 1, f"objective.toml has one line {name}"
    settings.write_text(text)


def stand_ins() -> Iterator[Row]:
    sizes = ", ".join(f"{name}//{number}" for name, number in SCALES.items())
    lines = ", ".join(f"{name} {'left out' if value is None else value}" for name, value in SETTINGS.items())
    yield Row("an H100", "a processor: `cuda` is compiled as `cpu`, no memory is pinned, nothing is waited for")
    yield Row("torch of uv.lock, for CUDA", "the torch of this node's own environment, for the CPU")
    yield Row("50 million parameters, 5 minutes", f"divided where a file is compiled, so that edits count: {sizes}")
    yield Row(
        "a GPU of one's own", "time.time is the processor's time, so that neighbours here do not shorten a training"
    )
    yield Row("torch.compile", "gives back what it is given")
    yield Row(
        "the kernel of flash attention 3", "scaled_dot_product_attention with the same windows, in the hub's cache"
    )
    yield Row(
        "shards of web text", f"{len(SHARDS)} of {DOCUMENTS} documents in a made-up language; prepare.py finds them"
    )
    yield Row("uv", "a script: `sync` is pip with the versions of uv.lock, `run` is .venv/bin/python")
    yield Row("a GPU's settings in objective.toml", f"edited after the import, as a user may: {lines}")
    yield Row(
        "nothing", f"prepare.py and train.py; {', '.join(PACKAGES)} of uv.lock; bits per byte; seeds; the sandbox"
    )


# ---- what comes out --------------------------------------------------------------------------------------------------


def begin(show: Show) -> None:
    """From a checkout to an objective that a node can join."""
    data = told(*PROGRAM, "objective", "import", str(show.checkout)).splitlines()
    show.add("objective import", data[0])
    for line in data:
        if line.split()[:1] and line.split()[0] in ("metric", "runs", "prepare", "seed"):
            show.add(f"    {line.split()[0]}", line.split(maxsplit=1)[1])
    set_lines(show.checkout / "objective.toml")
    for done, command in (
        ("objective prepare", ("prepare", "--yes")),
        ("objective check --fix", ("check", "--fix")),
    ):
        begun = time.monotonic()
        lines = told(*PROGRAM, "objective", *command, str(show.checkout)).strip().splitlines()
        show.add(done, f"{time.monotonic() - begun:.0f} s; {lines[-1].strip()}")


def try_seeds(show: Show) -> None:
    """Runs of the unchanged train.py, and of one in which time is counted by steps, with equal and different seeds.

    The first differ by chance and by what the machine does meanwhile; of the others the seed alone decides.
    """
    import trio

    from node.execution.runs import runner_for
    from node.execution.sandbox.layers import probe
    from node.objective.load import load_objective

    objective = load_objective(show.checkout, show.checkout)
    assert objective.source.count(BY_STEPS[0]) == 1

    async def values(source: str, seeds: tuple[int, ...]) -> list[str]:
        found = []
        async with runner_for(objective, probe(), show.root / "runs", lambda event, level="info", **_: None) as runner:
            for seed in seeds:
                outcome = await runner.run(source, seed, lambda progress: None)
                found.append(f"{outcome.value:.6f}" if outcome.value is not None else outcome.log_tail[-200:])
        return found

    show.add("its train.py, seeds 1, 2", ", ".join(trio.run(values, objective.source, (1, 2))))
    source = objective.source.replace(*BY_STEPS)
    show.add("with time counted by steps, seeds 1, 1, 2", ", ".join(trio.run(values, source, (1, 1, 2))))


def research(show: Show, patience: float) -> None:
    """One node researches and gets two suggestions; a second one joins, prepares, and re-runs."""
    first = NodeProcess(show.root / "first", ["--objective", str(show.checkout)])
    second = NodeProcess(show.root / "second")
    with ended_afterwards(first, second):
        begun = time.monotonic()
        first.start("--seed", "1")
        invite = first.invite()
        suggest(show, first)
        joined = False
        while time.monotonic() < begun + patience and first.running():
            experiments = of(first, "result", "run failed")
            if of(first, "kept") and not joined:
                joined = join(show, second, invite)
            if joined and len(experiments) >= EXPERIMENTS and of(second, "replication result"):
                break
            time.sleep(1.0)
        report(show, first, second)


def of(node: NodeProcess, *names: str) -> list[dict[str, Any]]:
    return [event for event in node.events() if event.get("event") in names]


def suggest(show: Show, node: NodeProcess) -> None:
    source = (show.checkout / "train.py").read_text()
    for number, (title, find, replace) in enumerate(EDITS):
        assert source.count(find) == 1, f"train.py has {find!r} once"
        edited = show.root / f"edit-{number}.py"
        edited.write_text(source.replace(find, replace))
        told(*PROGRAM, "suggest", title, "--edit", str(edited), "--home", str(node.home))


def join(show: Show, node: NodeProcess, invite: str) -> bool:
    """Join as a person does: the first try says what is missing, `objective prepare` makes it, the second joins."""
    node.start(invite, "--no-research")
    assert node.process is not None
    node.process.wait(120)
    said = (node.home.parent / f"{node.home.name}.out").read_text().strip().splitlines()[-1]
    show.add("the second node's `join INVITE`", said)
    folder = next((node.home / "objectives").iterdir())
    begun = time.monotonic()
    told(*PROGRAM, "objective", "prepare", "--yes", str(folder), "--home", str(node.home))
    show.add("`objective prepare` there", f"{time.monotonic() - begun:.0f} s")
    node.start(invite, "--no-research")
    return True


def report(show: Show, first: NodeProcess, second: NodeProcess) -> None:
    for event in of(first, "result", "run failed", "kept"):
        show.add(f"first: {event['event']}", facts(event))
    for event in of(second, "replication result", "adopted"):
        show.add(f"second: {event['event']}", facts(event))


def facts(event: Mapping[str, Any]) -> str:
    """What an event says of an idea, on one line; of a failed run the last that it printed before it ended."""
    told = [str(event["title"]), *(f"{name} {event[name]}" for name in SHOWN if name in event)]
    return ", ".join(told + str(event.get("log_tail", "")).strip().splitlines()[-2:-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, nargs="?", help="a clone of karpathy/autoresearch")
    parser.add_argument("--patience", type=float, default=900.0, help="seconds for the two nodes")
    parser.add_argument("--write-text", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write_text is not None:
        write_text(options.write_text)
        return 0
    if options.checkout is None:
        parser.error("give the folder of a clone")
    before = content(options.checkout)
    with tempfile.TemporaryDirectory(prefix="karpathy-unchanged-") as root:
        show = Show(Path(root))
        ignored = shutil.ignore_patterns(".venv", "objective.toml", "__pycache__")
        shutil.copytree(options.checkout, show.checkout, ignore=ignored)
        print("What stands in for what\n")
        for row in stand_ins():
            print(f"  {row.done:<48} | {row.came}")
        print("\nWhat came out\n", flush=True)
        stand_in(show)
        begin(show)
        try_seeds(show)
        research(show, options.patience)
        same = content(show.checkout) == before
        show.add("their files afterwards", f"{len(before)}, all as they were" if same else "CHANGED")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
