"""Each family of repositories is recognised by its files, and everything that an objective needs is read from them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from node.authoring.importing.environment import caches_in, imports_of
from node.authoring.importing.families import FAMILIES
from node.authoring.importing.openevolve import settings_in
from node.authoring.importing.pi_autoresearch import scope
from node.authoring.importing.recognised import Choice, ImportRefusedError
from node.authoring.importing.seeds import rewrites_in
from node.authoring.importing.writing import import_folder
from node.cli.objective import FAMILY_NAMES
from node.objective.schema import SeedRewrite
from protocol.metric import Direction, Scale
from tests.node.authoring.importing.examples import PLAIN, example, imported

HIGHER, LOWER = Direction.HIGHER, Direction.LOWER


def test_karpathys_repository_has_its_metric_its_time_and_its_seed(tmp_path: Path) -> None:
    found = imported("karpathy", tmp_path)
    objective, command = found.objective, found.objective.command
    assert found.recognised.family == "karpathy/autoresearch"
    assert objective.editable == ("train.py",)
    assert (objective.metric, objective.unit, objective.measure.direction) == ("val_bpb", "bits per byte", LOWER)
    assert command is not None
    assert (command.run, command.values, command.failed_by) == ("python3 train.py", "block", ("FAIL",))
    assert command.seed_rewrites == (SeedRewrite("train.py", "random.seed(42)", "random.seed({seed})"),)
    assert (objective.budget.seconds, objective.budget.wall_seconds) == (0.2, 900)
    assert objective.environment is not None
    assert objective.environment.paths == ("~/.cache/autoresearch-example",)
    assert objective.environment.prepare == "python3 prepare.py"
    assert (objective.device, objective.history) == ("cpu", "results.tsv")
    assert len(found.history.results) == 3
    assert set(found.locked) == {"prepare.py", "program.md", "results.tsv"}


def test_a_fork_for_a_mac_is_told_from_the_original(tmp_path: Path) -> None:
    found = imported("mlx", tmp_path)
    objective = found.objective
    assert found.recognised.family == "karpathy/autoresearch (MLX)"
    assert objective.device == "gpu"
    assert objective.budget.wall_seconds == 15 * 60 + 300
    environment = objective.environment
    assert environment is not None
    assert environment.lock is not None
    assert (environment.paths, environment.lock.path) == ((".venv",), "uv.lock")
    assert environment.prepare == "uv sync && uv run prepare.py"
    assert "Apple silicon" in " ".join(found.recognised.notes)


def test_a_session_of_pi_says_its_metric_in_its_log_and_its_files_in_its_prompt(tmp_path: Path) -> None:
    found = imported("pi", tmp_path)
    objective, command = found.objective, found.objective.command
    assert objective.editable == ("src/order.py", "src/join.py")
    assert (objective.metric, objective.unit, objective.measure.direction) == ("sort_ms", "ms", LOWER)
    assert command is not None
    assert (command.run, command.checks) == ("bash .auto/measure.sh", "bash .auto/checks.sh")
    assert {".auto/bench.py", ".auto/checks.sh", ".auto/measure.sh", "tests/test_order.py"} <= set(found.locked)
    assert (objective.direction, objective.history) == (".auto/prompt.md", ".auto/log.jsonl")
    assert (len(found.history.results), found.history.skipped) == (4, 1)
    assert "locked, because the checks judge by them: tests/test_order.py" in " ".join(found.recognised.notes)


def test_the_older_layout_of_pi_is_read_too_and_a_score_below_zero_makes_the_scale_linear(tmp_path: Path) -> None:
    found = imported("pi_flat", tmp_path)
    objective = found.objective
    assert objective.editable == ("player.py",)
    assert (objective.measure.direction, objective.measure.scale) == (HIGHER, Scale.LINEAR)
    assert objective.command is not None
    assert (objective.command.run, objective.command.seed_variable) == ("bash autoresearch.sh", "SEED")


def test_autokernel_must_print_pass(tmp_path: Path) -> None:
    found = imported("autokernel", tmp_path)
    command = found.objective.command
    assert command is not None
    assert (found.objective.editable, command.require) == (("kernel.py",), {"correctness": "PASS"})
    assert (found.objective.metric, found.objective.measure.direction) == ("throughput_tflops", HIGHER)
    assert "bench.py draws with a seed of its own" in found.recognised.seeds.says
    assert [result.value for result in found.history.results] == [12.5, None, None]


def test_openevolve_has_an_evaluator_and_a_few_settings(tmp_path: Path) -> None:
    found = imported("openevolve", tmp_path)
    command = found.objective.command
    assert command is not None
    assert (command.run, command.evaluator) == (None, "evaluator.py")
    assert found.objective.editable == ("initial_program.py",)
    assert (found.objective.metric, found.objective.measure.scale) == ("combined_score", Scale.LINEAR)
    assert found.objective.budget.wall_seconds == 20
    assert command.seed_rewrites[0].find == "random.Random(42)"


def test_an_evaluator_without_a_combined_score_needs_a_choice(tmp_path: Path) -> None:
    root = example("openevolve", tmp_path)
    evaluator = root / "evaluator.py"
    evaluator.write_text(evaluator.read_text().replace("combined_score", "depth"))
    with pytest.raises(ImportRefusedError, match=r"--metric NAME \(it seems to have: depth, height"):
        import_folder(root, Choice())
    assert import_folder(root, Choice(metric="depth")).objective.metric == "depth"


def test_shinka_is_read_from_two_files_and_must_be_correct(tmp_path: Path) -> None:
    command = imported("shinka", tmp_path).objective.command
    assert command is not None
    assert command.run == "python3 evaluate.py --program_path initial.py --results_dir results"
    assert (command.values, command.require) == ("json", {"correct": "true"})
    assert command.files == ("results/metrics.json", "results/correct.json")


def test_anything_else_is_described_by_a_person(tmp_path: Path) -> None:
    found = imported("plain", tmp_path, replace(PLAIN, direction=LOWER))
    command = found.objective.command
    assert command is not None
    assert (command.values, command.seed_variable) == ("block", "FIT_SEED")
    assert (found.objective.budget.seconds, found.objective.budget.wall_seconds) == (1, 62)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ('print("ms:", took)', "block"),
        ('print(f"ms: {took}")', "block"),
        ("print('ms: ' + str(took))", "block"),
        ("console.log(`ms:`, took)", "block"),
        ('print(f"METRIC ms={took}")', "lines"),
        ('print("METRIC ms=%s" % took)', "lines"),
        ('print("forms:", took)', "lines"),  # that is another name: nothing shows how ms is printed
    ],
)
def test_how_a_script_prints_its_number_is_read_from_it(tmp_path: Path, line: str, values: str) -> None:
    (tmp_path / "sort.py").write_text("order = sorted\n")
    (tmp_path / "bench.py").write_text(f"took = 1.5\n{line}\n")
    given = Choice(command="python bench.py", metric="ms", direction=LOWER, editable=("sort.py",))
    command = import_folder(tmp_path, given).objective.command
    assert command is not None
    assert command.values == values


def test_a_command_alone_is_told_everything_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError) as refused:
        imported("plain", tmp_path, Choice(command="python3 search.py"))
    assert all(option in str(refused.value) for option in ("--metric NAME", "--lower or --higher", "--editable FILE"))


def test_where_nothing_is_recognised_it_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError) as refused:
        imported("plain", tmp_path)
    assert all(family.marks in str(refused.value) for family in FAMILIES)
    assert "--command" in str(refused.value)


def test_where_several_families_match_the_other_ones_are_named_and_can_be_chosen(tmp_path: Path) -> None:
    root = example("shinka", tmp_path)
    evaluator = "def evaluate(path):\n    return {'combined_score': 1.0}\n"
    (root / "evaluator.py").write_text(evaluator)
    found = import_folder(root, Choice())
    assert (found.recognised.family, found.others) == ("ShinkaEvolve", ("openevolve",))
    assert import_folder(root, Choice(family="openevolve"), force=True).recognised.family == "OpenEvolve"


def test_what_a_person_says_holds_against_what_was_found(tmp_path: Path) -> None:
    choice = Choice(metric="items", direction=HIGHER, editable=("src/order.py",), seconds=5)
    found = imported("pi", tmp_path, choice)
    assert (found.objective.metric, found.objective.measure.direction) == ("items", HIGHER)
    assert (found.objective.editable, found.objective.budget.seconds) == (("src/order.py",), 5)
    assert "src/join.py" in found.locked


def test_the_families_that_can_be_named_are_those_that_there_are() -> None:
    assert {family.name for family in FAMILIES} == set(FAMILY_NAMES)


# ---- reading what files say --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "finds"),
    [
        (
            "torch.manual_seed(42)\ntorch.cuda.manual_seed(42)\n",
            ["torch.manual_seed(42)", "torch.cuda.manual_seed(42)"],
        ),
        ("rng = np.random.default_rng(seed=7)\n", ["np.random.default_rng(seed=7)"]),
        ("SEED = 1337  # lucky\n", ["SEED = 1337"]),
        ("def a():\n    seed(1)\ndef b():\n    seed(1)\n", ["def a():\n    seed(1)", "def b():\n    seed(1)"]),
        ("# torch.manual_seed(42)\nspeed(3)\nseed(x)\n", []),
    ],
)
def test_a_seed_is_found_where_it_stands_once_or_with_the_lines_before_it(text: str, finds: list[str]) -> None:
    rewrites = list(rewrites_in("train.py", text))
    assert [row.find for row in rewrites] == finds
    assert all(text.count(row.find) == 1 for row in rewrites)
    written = text
    for row in rewrites:
        assert written.count(row.find) == 1
        written = written.replace(row.find, row.replace.replace("{seed}", "99"))
    assert written.count("99") == len(rewrites)


def test_neighbouring_seeds_that_stand_twice_are_rewritten_together() -> None:
    pair = "{0}torch.manual_seed(42)\n{0}torch.cuda.manual_seed(42)\n"
    text = f"def tune():\n{pair.format('        ')}def main():\n{pair.format('    ')}"
    rewrites = list(rewrites_in("train.py", text))
    assert len(rewrites) == 2
    for row in rewrites:
        assert text.count(row.find) == 1
        text = text.replace(row.find, row.replace.replace("{seed}", "7"))
    assert text.count("manual_seed(7)") == 4


def test_scope_is_a_list_of_paths_in_backticks_before_what_is_said_of_them() -> None:
    words = (
        "# x\n## Files in Scope\n- `src/a.py` — calls `b.py`\n- `src/**/*.c`, `lib/`: all\n* tool.sh\n"
        "1. `./d.py` - x\n\n## Off Limits\n- `no.py`\n"
    )
    assert list(scope(words)) == ["src/a.py", "src/**/*.c", "lib/", "tool.sh", "d.py"]


@pytest.mark.parametrize(
    "code",
    [
        'os.path.join(os.path.expanduser("~"), ".cache", "name")',
        'Path.home() / ".cache" / "name"',
        'cache = "~/.cache/name"',
        '"""Data is stored in ~/.cache/name/."""',
    ],
)
def test_a_cache_below_the_home_is_seen_however_it_is_written(code: str) -> None:
    assert caches_in(code) == ["name"]


def test_of_yaml_only_plain_numbers_are_read() -> None:
    text = "max_iterations: 10\nevaluator:\n  timeout: 60  # s\n  workers: many\nllm:\n  timeout: 5\n"
    assert settings_in(text) == {"max_iterations": "10", "evaluator.timeout": "60", "llm.timeout": "5"}


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 2_000_000,
        "import " + " " * 2_000_000,
        "a: " + " " * 2_000_000,
        "a." * 1_000_000,
        "seed(1)\n" * 300_000,
        "x = 'METRIC '\n" * 100_000,
        "- `" + "*a" * 500_000 + "`\n",
        "[" * 1_000_000,
        '".cache/' + "a." * 1_000_000,
    ],
    ids=["lines", "import", "setting", "names", "seeds", "values", "glob", "nested", "cache"],
)
@pytest.mark.timeout(60)
def test_a_file_that_was_made_to_take_long_takes_little_time(tmp_path: Path, text: str) -> None:
    for name, append in (("pi", ".auto/prompt.md"), ("karpathy", "train.py"), ("openevolve", "config.yaml")):
        root = example(name, tmp_path)
        with (root / append).open("a") as file:
            file.write("\n## Files in Scope\n" + text)
        begun = time.monotonic()
        with contextlib.suppress(ImportRefusedError):
            import_folder(root, Choice())
        assert time.monotonic() - begun < 15


@pytest.mark.parametrize(
    ("words", "unit", "direction"),
    [
        ("`rate` (MB, higher is better)", "MB", HIGHER),
        ("`rate` (higher is better)", "", HIGHER),
        ("rate — higher is better", "", HIGHER),
        ("`rate` (a long phrase that is no unit of anything, lower is better) - x", "", LOWER),
        ("`rate`", "", LOWER),
    ],
)
def test_without_a_log_the_prompt_says_the_metric(tmp_path: Path, words: str, unit: str, direction: Direction) -> None:
    root = example("pi", tmp_path)
    (root / ".auto" / "log.jsonl").unlink()
    prompt = root / ".auto" / "prompt.md"
    prompt.write_text(prompt.read_text().replace("`sort_ms` (ms, lower is better)", words))
    objective = import_folder(root, Choice()).objective
    assert (objective.metric, objective.unit, objective.measure.direction) == ("rate", unit, direction)


def test_a_session_that_works_elsewhere_is_not_taken_for_one_here(tmp_path: Path) -> None:
    root = example("pi", tmp_path)
    (root / ".auto" / "config.json").write_text('{"workingDir": "packages/core"}')
    with pytest.raises(ImportRefusedError, match="packages/core"):
        import_folder(root, Choice())


def test_imports_are_told_from_prose() -> None:
    prose = '"""Reads\nfrom different sources\nimport as much as it can."""\n'
    text = f"{prose}import numpy as np, sys\n  from jax.nn import relu\n"
    assert imports_of(text) == {"numpy", "jax"}


def test_well_known_packages_that_nothing_lists_are_offered_for_installing(tmp_path: Path) -> None:
    root = example("shinka", tmp_path)
    evaluate = root / "evaluate.py"
    evaluate.write_text("import numpy as np\nimport left_pad_of_a_stranger\n" + evaluate.read_text())
    found = import_folder(root, Choice())
    environment = found.objective.environment
    assert environment is not None
    assert environment.prepare == "python3 -m venv .venv && .venv/bin/pip install numpy"
    assert "left_pad_of_a_stranger must be installed too" in found.recognised.notes
    (root / "requirements.txt").write_text("pandas\n")
    environment = import_folder(root, Choice(), force=True).objective.environment
    assert environment is not None
    assert environment.prepare == "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt numpy"


@pytest.mark.parametrize(
    "read",
    [
        lambda: imports_of("from " + "a" * 1_000_000),
        lambda: imports_of("import " + "a.b" * 300_000 + "!"),
        lambda: settings_in(("a: b" + " " * 200 + "c\n") * 20_000),
    ],
)
def test_texts_of_megabytes_are_read_at_once(read: Callable[[], object]) -> None:
    begun = time.monotonic()
    read()
    assert time.monotonic() - begun < 5  # seconds, on a machine that is busy with other things
