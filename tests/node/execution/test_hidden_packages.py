"""What an objective hides of this Python's packages, no run of it can read, in any tier, while other packages can be.

Real runs: of a source that tries, in its training and in its examination.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from node.authoring.check_hidden import hidden_faults, needed_by_runs
from node.execution.hidden_packages import hidden_paths
from node.execution.runner import Runner
from node.execution.sandbox import launch, readable_paths
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import run_once
from node.objective.limits import demands
from node.objective.load import complaints, load_objective
from node.objective.schema import Objective
from tests.node.conftest import ignore
from tests.node.execution.sandbox.tiers import TIERS, lack, layers_of
from tests.node.execution.small_objective import copy_tinylm, least_objective, small_objective

HIDDEN = ("mako", "trio", "six")
TRIES = """

def try_to_read(hidden):
    import importlib
    import os
    import sysconfig

    root = sysconfig.get_path("purelib")
    assert open(f"{root}/pygments/__init__.py").read(), "other packages can be read"
    for name in hidden:
        for top in (root, os.path.realpath(root), f"/proc/self/root{os.path.realpath(root)}"):
            for path in (f"{name}/__init__.py", f"{name}/../{name}/__init__.py", f"{name}.py"):
                try:
                    content = open(f"{top}/{path}").read()
                except OSError:
                    continue
                assert not content, f"{path} can be read"
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError):
            continue
        assert module.__file__ is None, f"{name} can be imported"


for place in ("train", "build"):

    def tried(task, before=globals()[place]):
        try_to_read(HIDDEN)
        return before(task)

    globals()[place] = tried
"""


def trying(objective: Objective) -> str:
    """A source that reads what is hidden, if it can, and then fails."""
    return f"{objective.source}\nHIDDEN = {HIDDEN!r}\n{TRIES}"


@pytest.mark.sandbox
@pytest.mark.parametrize("tier", TIERS)
async def test_a_program_reads_other_packages_and_nothing_hidden(tier: str, tmp_path: Path) -> None:
    if (reason := lack(tier)) is not None:
        pytest.skip(reason)
    objective = replace(small_objective(tmp_path), hidden=HIDDEN)
    function = TRIES[: TRIES.index("for place in")]
    program = [*launch.python("-c"), f"{function}\ntry_to_read({HIDDEN!r})\nprint('nothing was read')"]
    policy = Policy(
        wall_seconds=60,
        cpu_seconds=60,
        memory_bytes=1 << 30,
        tasks=16,
        output_bytes=1 << 16,
        hidden=hidden_paths(objective),
    )
    ended = await run_once(program, policy, layers_of(tier))
    assert (ended.code, ended.log_tail.strip()) == (0, "nothing was read")
    found = await run_once(program, replace(policy, hidden=()), layers_of(tier))
    assert "can be read" in found.log_tail


@pytest.mark.sandbox
@pytest.mark.parametrize("tier", TIERS)
async def test_a_folder_of_the_system_is_hidden_with_all_that_is_in_it(tier: str, tmp_path: Path) -> None:
    if (reason := lack(tier)) is not None:
        pytest.skip(reason)
    folder = Path("/usr/share/common-licenses" if os.path.isdir("/usr/share/common-licenses") else "/usr/include")
    file = next(path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    program = [*launch.python("-c"), f"print(len(open({str(file)!r}, 'rb').read()))"]
    shown = Policy(wall_seconds=60, cpu_seconds=60, memory_bytes=1 << 30, tasks=16, output_bytes=1 << 16)
    hidden = hidden_paths(replace(small_objective(tmp_path), hidden=(str(folder),)))
    assert hidden == (folder.resolve(),)
    assert (await run_once(program, shown, layers_of(tier))).log_tail.strip() == str(file.stat().st_size)
    ended = await run_once(program, replace(shown, hidden=hidden), layers_of(tier))
    assert "Error" in ended.log_tail


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "tier", ["bwrap", *(pytest.param(name, marks=pytest.mark.long) for name in TIERS if name != "bwrap")]
)
async def test_no_run_reads_what_is_hidden_and_runs_work_without_it(tier: str, tmp_path: Path) -> None:
    if (reason := lack(tier)) is not None:
        pytest.skip(reason)
    objective = replace(least_objective(tmp_path), hidden=HIDDEN)
    async with Runner(objective, layers_of(tier), tmp_path / "weights", ignore) as runner:
        outcome = await runner.run(trying(objective), 1, ignore)
    assert (outcome.failure, outcome.log_tail, outcome.tier) == (None, "", tier)


def test_every_place_where_a_package_is_installed_is_hidden(tmp_path: Path) -> None:
    objective = replace(small_objective(tmp_path), hidden=("mako", "six", "a_package_that_nobody_has"))
    found = hidden_paths(objective)
    assert any(path.name == "mako" and path.is_dir() for path in found)
    assert not [path for path in found if "a_package_that_nobody_has" in path.name]
    assert hidden_paths(replace(objective, hidden=())) == ()


def test_copies_that_programs_of_the_system_bring_are_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = [
        tmp_path / "usr" / place / "mako"
        for place in ("lib/a-program/lib/third_party", "share/b/site-packages/c/_vendor")
    ]
    for copy in copies:
        copy.mkdir(parents=True)
        (copy / "__init__.py").write_text("text that a judge asks about\n")
    (tmp_path / "linked").symlink_to(tmp_path / "usr")
    objective = replace(small_objective(tmp_path), hidden=("mako",))
    assert not set(copies) & set(hidden_paths(objective))
    monkeypatch.setattr(readable_paths, "system", lambda: (str(tmp_path / "linked"), str(tmp_path / "usr")))
    assert set(copies) <= set(hidden_paths(objective))


def test_it_is_read_shown_and_checked(tmp_path: Path) -> None:
    root = copy_tinylm(tmp_path)
    settings = (root / "objective.toml").read_text()

    def hiding(names: str) -> list[str]:
        (root / "objective.toml").write_text(f"hidden = {names}\n{settings}")
        return complaints(root)

    assert hiding('["mako", "sympy"]') == []
    objective = load_objective(root, root)
    assert objective.hidden == ("mako", "sympy")
    assert demands(objective)["hides"] == "mako, sympy"
    (fault,) = hidden_faults(objective)
    assert "hidden names 'sympy', which runs need" in fault.says
    assert {"torch", "numpy", "sympy", "networkx", "jinja2", "mpmath"} <= needed_by_runs()
    assert not {"mako", "trio", "sqlalchemy"} & needed_by_runs()
    assert hiding('["/usr/share/doc", "mako"]') == []
    for names in ('["../mako"]', '["mako", "mako"]', '["a b"]', '[""]', '["/home/me"]', '["/usr/../etc"]', '["/usr"]'):
        assert "hidden must be different names of packages" in hiding(names)[0]
