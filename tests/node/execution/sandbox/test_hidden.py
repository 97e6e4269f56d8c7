"""What is hidden beneath a shown path cannot be read, by whatever name; all beside it can."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import trio

from node.execution.sandbox import hidden
from node.execution.sandbox.forks import ForkServer
from node.execution.sandbox.layers import Layers
from node.execution.sandbox.policy import Policy
from node.execution.sandbox.process import run_once
from tests.node.execution.sandbox.conftest import PolicyMaker, python

pytestmark = pytest.mark.sandbox

SHOW = """
import json, os, sys
found = {}
for path in sys.argv[1:]:
    try:
        found[path] = open(path).read(100)
    except OSError:
        found[path] = None
print(json.dumps(found))
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder like site-packages, with a link to it, and links inside it that lead to what is to be hidden."""
    root = tmp_path / "lib" / "packages"
    for name in ("alpha", "beta", "beta/inner", "gamma"):
        (root / name).mkdir(parents=True)
        (root / name / "text").write_text(name)
    (root / "module.py").write_text("module")
    (root / "other.py").write_text("other")
    (root / "link").symlink_to(root / "beta")
    (root / "gamma" / "link").symlink_to("../beta/text")
    (tmp_path / "lib64").symlink_to("lib")
    return root


async def seen(paths: list[Path], policy: Policy, layers: Layers) -> dict[str, str | None]:
    outcome = await run_once([*python(SHOW), *map(str, paths)], policy, layers)
    assert outcome.code == 0, outcome
    found: dict[str, str | None] = json.loads(outcome.log_tail)
    return found


async def test_a_hidden_folder_and_a_hidden_file_cannot_be_read(
    packages: Path, tmp_path: Path, layers: Layers, policy: PolicyMaker
) -> None:
    shown = policy(
        read_only=(packages.parent, tmp_path / "lib64"),
        hidden=(packages / "beta", packages / "module.py"),
    )
    names = ["alpha/text", "gamma/text", "other.py"]
    lost = ["beta/text", "beta/inner/text", "module.py", "link/text", "gamma/link"]
    for folder in (packages, tmp_path / "lib64" / "packages"):
        found = await seen([folder / name for name in (*names, *lost)], shown, layers)
        assert {name: found[str(folder / name)] for name in names} == {
            "alpha/text": "alpha", "gamma/text": "gamma", "other.py": "other",
        }  # fmt: skip
        assert {found[str(folder / name)] for name in lost} == {None}


async def test_a_path_that_is_given_inside_what_is_hidden_is_hidden_too(
    packages: Path, layers: Layers, policy: PolicyMaker
) -> None:
    given = (packages / "beta" / "inner", packages / "beta", packages / "alpha")
    found = await seen(
        [packages / "beta/inner/text", packages / "beta/text", packages / "alpha/text"],
        policy(read_only=given, programs=given[:1], hidden=(packages / "link",)),  # by a name that is a link
        layers,
    )
    assert list(found.values()) == [None, None, "alpha"]


async def test_one_package_of_pythons_own_can_be_hidden(layers: Layers, policy: PolicyMaker) -> None:
    import h11

    package = Path(h11.__file__).parent
    code = f"""if True:
        import numpy
        print(numpy.__name__)
        try:
            import h11
            print(h11.__file__)
        except (ImportError, PermissionError) as problem:
            print(type(problem).__name__)
        for name in ("__init__.py", "_connection.py"):
            try:
                open({str(package)!r} + "/" + name)
                print("read")
            except OSError:
                print("hidden")
    """
    outcome = await run_once(python(code), policy(hidden=(package,)), layers)
    words = outcome.log_tail.split()
    assert words[0] == "numpy", outcome
    assert words[1] in ("ModuleNotFoundError", "PermissionError", "ImportError", "None")
    assert words[2:] == ["hidden", "hidden"]


def test_a_fork_of_a_server_reads_nothing_hidden(packages: Path, layers: Layers, policy: PolicyMaker) -> None:
    import h11

    package = Path(h11.__file__).parent
    preload, program = packages / "preload.py", packages / "program.py"
    preload.write_text("import json, numpy\n")
    program.write_text(SHOW.replace("print(json.dumps(found))", "os.write(3, json.dumps(found).encode())"))
    beside = package.with_name("psutil") / "__init__.py"
    reads, writes = os.pipe()
    limits = policy(hidden=(package,))

    async def run() -> None:
        server = ForkServer.start(preload, [program], limits, layers)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.supervise)
            words = [str(package / "__init__.py"), str(package / "_connection.py"), str(beside)]
            fork = await server.fork("program", words, [writes], policy(processes="threads"))
            os.close(writes)
            fork.start_clock()
            await fork.supervise()
            nursery.cancel_scope.cancel()

    trio.run(run)
    with os.fdopen(reads) as result:
        found = json.load(result)
    assert list(found.values())[:2] == [None, None]
    assert found[str(beside)]


async def test_a_hidden_path_that_is_not_there_is_the_callers_mistake(
    tmp_path: Path, layers: Layers, policy: PolicyMaker
) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        await run_once(python(""), policy(hidden=(tmp_path / "nowhere",)), layers)


def test_a_folder_is_split_into_what_is_beside_the_hidden(packages: Path) -> None:
    secret = str(packages / "beta" / "inner")
    whole, listed = hidden.split(str(packages), [secret])
    assert [Path(path).relative_to(packages).as_posix() for path in whole] == [
        "alpha", "beta/text", "gamma", "module.py", "other.py",
    ]  # fmt: skip
    assert [Path(path).relative_to(packages).as_posix() for path in listed] == [".", "beta"]
    assert hidden.split(str(packages / "alpha"), [secret]) == ([str(packages / "alpha")], [])
    assert hidden.split(secret, [secret]) == ([], [])
