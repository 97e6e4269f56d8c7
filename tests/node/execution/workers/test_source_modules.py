"""The files of a source import each other without being on disk, as if the first had been started beside the others."""

from __future__ import annotations

import inspect
import json  # noqa: F401  (so that it is imported already)
import sys
import traceback
from collections.abc import Iterator, Mapping

import pytest

from node.execution.workers.source_modules import NotPython, SourceModules


@pytest.fixture(autouse=True)
def _modules_as_they_were() -> Iterator[None]:
    modules, finders = dict(sys.modules), list(sys.meta_path)
    yield
    sys.meta_path[:] = finders
    sys.modules.clear()
    sys.modules.update(modules)


def loaded(files: Mapping[str, str]) -> object:
    """What `said` is in the first of these files."""
    return SourceModules({path: text.encode() for path, text in files.items()}).load().said


def test_one_file_is_a_module_known_by_no_name_of_its_own() -> None:
    assert loaded({"train.py": "said = __name__, __file__"}) == ("candidate_source", "train.py")
    assert loaded({"train.py": "\ufeffsaid = 1"}) == 1
    assert "train" not in sys.modules
    assert not any(isinstance(each, SourceModules) for each in sys.meta_path)


def test_files_beside_the_first_are_modules() -> None:
    assert loaded({"train.py": "from layers import WIDTH as said", "layers.py": "WIDTH = 3"}) == 3
    assert loaded({"train.py": "import layers; said = layers.__file__", "layers.py": ""}) == "layers.py"


def test_files_in_folders_are_modules_of_packages() -> None:
    block = "from .norm import EPS\nfrom parts.norm import EPS as same\nassert EPS is same\nBLOCK = EPS"
    parts = {"parts/block.py": block, "parts/norm.py": "EPS = object()"}
    assert loaded({"train.py": "from parts import block, norm; said = block.BLOCK is norm.EPS", **parts}) is True
    package = {"package/__init__.py": "A = 1"}
    assert loaded({"train.py": "import package; said = package.A, package.__file__", **package}) == (1, *package)


def test_files_below_the_firsts_folder_are_named_from_there_and_others_from_the_top() -> None:
    others = {"src/layers.py": "A = 1", "tools/seeds.py": "B = 2"}
    assert loaded({"src/train.py": "import layers, tools.seeds; said = layers.A, tools.seeds.B", **others}) == (1, 2)


def test_a_file_that_imports_the_first_gets_the_one_that_runs() -> None:
    train = "RATE = 2\nimport layers\nsaid = layers.train.RATE, layers.train.__name__"
    assert loaded({"train.py": train, "layers.py": "import train"}) == (2, "candidate_source")


def test_a_file_called_as_a_module_of_the_library_stands_before_it() -> None:
    assert loaded({"train.py": "import colorsys; said = colorsys.OURS", "colorsys.py": "OURS = 1"}) == 1
    assert "json" in sys.modules
    assert loaded({"train.py": "import json; said = json.OURS", "json.py": "OURS = 1"}) == 1


def test_what_is_no_file_of_the_source_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such"):
        loaded({"train.py": "import no_such", "layers.py": ""})
    with pytest.raises(ModuleNotFoundError, match=r"parts\.no_such"):
        loaded({"train.py": "import parts.no_such", "parts/block.py": ""})


def test_a_file_that_is_no_python_is_found_before_anything_runs() -> None:
    for broken in (b"def (", b"\xff", b"\0", b"(" * 10_000):
        with pytest.raises(NotPython):
            SourceModules({"train.py": b"1 / 0", "layers.py": broken})
    assert SourceModules({"train.py": b"said = 1", "notes.md": b"def ("}).load().said == 1


def test_tracebacks_and_inspect_see_the_text_of_every_file() -> None:
    files = {"train.py": b"from layers import fail", "layers.py": b"def fail():\n    return 1 / 0  # here\n"}
    fail = SourceModules(files).load().fail
    assert "return 1 / 0  # here" in inspect.getsource(fail)
    with pytest.raises(ZeroDivisionError) as raised:
        fail()
    assert "return 1 / 0  # here" in "".join(traceback.format_exception(raised.value))
