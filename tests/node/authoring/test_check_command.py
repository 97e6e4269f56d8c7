"""What is wrong with a command objective is found without running it, and what this machine lacks is told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from node.authoring.check import faults
from node.authoring.check_command import lacking, program_of
from node.authoring.importing.recognised import NO_CHOICE
from node.authoring.importing.writing import import_folder
from node.cli.main import main
from node.objective.limits import excesses, host_limits
from node.objective.load import load_objective
from node.objective.schema import SETTINGS
from node.platform.config import load_config
from tests.node.authoring.importing.examples import example


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    """A session of pi-autoresearch, imported."""
    root = example("pi", tmp_path)
    import_folder(root, NO_CHOICE)
    return root


def change(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))


def report(root: Path) -> str:
    return "\n".join(f"{fault.file}: {fault.says}" for fault in trio.run(faults, root))


@pytest.mark.parametrize("name", ["karpathy", "mlx", "pi", "pi_flat", "autokernel", "openevolve", "shinka"])
def test_nothing_is_wrong_with_what_was_imported(tmp_path: Path, name: str) -> None:
    root = example(name, tmp_path)
    import_folder(root, NO_CHOICE)
    assert report(root) == ""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("wall_seconds = 600", "wall_seconds = 600000", "budget.wall_seconds is 600000"),
        ("memory_mb = 2048", "memory_mb = 2", "budget.memory_mb is 2; give a number from 16"),
        ("max_pairs = 6", "max_pairs = 60", "statistics.max_pairs is 60"),
        ("s0 = 0.02", "s0 = 3", "statistics.s0 is 3"),
        ('values = "lines"', 'valeus = "lines"', "did you mean 'values'?"),
        ("[budget]", '[command.seed]\nvariabel = "X"\n[budget]', "did you mean 'variable'?"),
        ('    ".auto/bench.py",\n', "", "`files` leaves out .auto/bench.py, which a run needs"),
        ('    "tests/test_order.py",\n', "", "`files` leaves out tests/test_order.py, which a run needs"),
        ('kind = "command"', 'kind = "commando"', "kind must be"),
    ],
)
def test_a_fault_is_reported_with_what_to_do(pi: Path, old: str, new: str, says: str) -> None:
    settings = (pi / SETTINGS).read_text()
    if '    ".auto' in old and old not in settings:  # a short list stands on one line
        old, new = old.strip().rstrip(","), '"src/order.py"'
    change(pi, SETTINGS, old, new)
    assert says in report(pi)


def test_a_module_that_an_editable_file_imports_must_be_there_for_peers(pi: Path) -> None:
    (pi / "src" / "heap.py").write_text("def smallest(numbers): return min(numbers)\n")
    change(pi, "src/order.py", '"""Sorting, slowly."""', "from heap import smallest")
    assert "`files` leaves out src/heap.py" in report(pi)


def test_files_of_other_languages_are_not_read_as_python(pi: Path) -> None:
    change(pi, SETTINGS, '"src/join.py"', '"src/join.c"')
    change(pi, SETTINGS, '"src/join.py"', '"src/join.c"')
    (pi / "src" / "join.c").write_text("int main() { return 0; }\n")
    assert "is not Python" not in report(pi)
    change(pi, "src/order.py", "def ordered(numbers):", "def ordered(numbers)")
    assert "src/order.py: is not Python" in report(pi)


def test_a_seed_that_stands_twice_is_reported(tmp_path: Path) -> None:
    root = example("karpathy", tmp_path)
    import_folder(root, NO_CHOICE)
    change(root, "train.py", "random.seed(42)", "random.seed(42)\nrandom.seed(42)")
    assert "train.py: command.seed.rewrite finds 'random.seed(42)' 2 times" in report(root)


def test_a_history_that_is_none_is_reported_and_an_empty_table_is_fine(tmp_path: Path) -> None:
    root = example("karpathy", tmp_path)
    import_folder(root, NO_CHOICE)
    (root / "results.tsv").write_text("commit\tval_bpb\tmemory_gb\tstatus\tdescription\n")
    assert report(root) == ""
    (root / "results.tsv").write_text("dear diary\ntoday I trained\n")
    assert "results.tsv: no result could be read from it (2 lines were tried)" in report(root)


def test_a_lock_file_that_changed_is_reported(tmp_path: Path) -> None:
    root = example("mlx", tmp_path)
    import_folder(root, NO_CHOICE)
    (root / "uv.lock").write_text("mlx==0.31\n")
    assert "environment.lock_sha256 is not that of uv.lock" in report(root)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("async def evaluate(path):\n    return {}\n", "is not async"),
        ("def evaluate(path, more):\n    return {}\n", "evaluate must take one argument"),
        ("from elsewhere import evaluate\n", ""),
        ("def evaluate(path, *, deep=False):\n    return {}\n", ""),
    ],
)
def test_an_evaluator_needs_its_function(tmp_path: Path, code: str, says: str) -> None:
    root = example("openevolve", tmp_path)
    import_folder(root, NO_CHOICE)
    (root / "evaluator.py").write_text(code)
    assert says in report(root)
    assert bool(says) == bool(report(root))


def test_noise_far_above_the_smallest_effect_of_a_linear_metric_is_reported(tmp_path: Path) -> None:
    root = example("shinka", tmp_path)
    import_folder(root, NO_CHOICE)
    change(root, SETTINGS, "s0 = 0.01", "s0 = 5")
    assert "s0 may be up to 50 times as large" in report(root)


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("python3 bench.py", "python3"),
        ("SEED=1 time ./run.sh --fast", "./run.sh"),
        ("env A=b uv run train.py", "uv"),
        ("cd build && make", None),
        ("for i in 1 2; do ./x; done", None),
        ("(./x)", None),
        ("$TOOL x", None),
        ("'unclosed", None),
        ("", None),
    ],
)
def test_the_program_of_a_line_is_its_first_word_where_that_is_plain(line: str, program: str | None) -> None:
    assert program_of(line) == program


def test_a_program_that_is_not_installed_is_lacking_and_no_fault(pi: Path) -> None:
    change(pi, SETTINGS, 'run = "bash', 'run = "no-such-shell')
    assert report(pi) == ""
    assert lacking(load_objective(pi, pi)) == ["command.run begins with 'no-such-shell', which is not installed here"]


def test_an_environment_that_is_not_here_is_told_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = example("karpathy", tmp_path)
    import_folder(root, NO_CHOICE)
    with pytest.raises(SystemExit) as ended:
        main(["objective", "check", str(root), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (ended.value.code, found["faults"], found["prepared"], found["baseline"]) == (1, [], False, None)
    told = f"not here: ~/.cache/autoresearch-example; in {root}, run: python3 prepare.py"
    assert found["warnings"] == [told]


def test_what_needs_a_gpu_is_told_before_anything_is_run(tmp_path: Path) -> None:
    root = example("mlx", tmp_path)
    import_folder(root, NO_CHOICE)
    objective = load_objective(root, root)
    assert [text.partition(",")[0] for text in lacking(objective)] == [f"not here: .venv; in {root}"]
    limits = host_limits(load_config(None, {"gpu": False}))
    (refusal,) = (text for text in excesses(objective, limits) if "device" in text)
    assert "no run here can use one" in refusal
