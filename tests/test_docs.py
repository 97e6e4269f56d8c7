"""The pages name what exists: their links lead somewhere, and files and functions that they point to are there.

What the pages say of these is for people to check. Names of functions are held for the architecture page, the
glossary and the decisions, which are read beside the code; paths and links for every page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("docs", "node", "objectives", "protocol", "scripts", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(page for name in FOLDERS for page in (ROOT / name).rglob("*.md"))])
PAGES = [page for page in PAGES if "node_modules" not in page.parts]
BESIDE_THE_CODE = [
    page for page in PAGES if page.name in ("architecture.md", "glossary.md") or page.parent.name == "decisions"
]

FENCED = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
IN_CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)
NOT_IN_SLUG = re.compile(r"[^\w\- ]")
PATH = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./*-]*")
PLACEHOLDER = re.compile(r"/[A-Z]+(/|$)")  # objectives/ID/ of a node's home
FILE_AND_NAME = re.compile(r"([\w./-]+\.py)(?::([A-Za-z_][\w.]*))?")
MODULE_AND_NAME = re.compile(r"([a-z_]+)\.([A-Za-z_]\w*)")
FILE_ENDINGS = {"css", "html", "js", "json", "jsonl", "key", "md", "mjs", "py", "sh", "sqlite", "svg", "toml", "url"}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """The page without its blocks of code, which show programs and figures."""
    return FENCED.sub("", page.read_text())


def words_in_code(page: Path) -> list[str]:
    return IN_CODE.findall(prose(page))


@cache
def code_files() -> tuple[Path, ...]:
    return tuple(path for name in FOLDERS for path in (ROOT / name).rglob("*.py") if "node_modules" not in path.parts)


def files_called(path: str) -> list[Path]:
    """The Python files that a page can mean by a path, which may leave out the folders in front."""
    return [file for file in code_files() if f"/{name_of(file)}".endswith(f"/{path}")]


@cache
def names_in(file: Path) -> frozenset[str]:
    """Everything that a module defines at its top or in its classes: "run_trial", "Reviewer.try_here"."""
    return frozenset(_defined(ast.parse(file.read_text()).body, ""))


def _defined(body: list[ast.stmt], within: str) -> Iterator[str]:
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield within + name
            case ast.ClassDef(name=name):
                yield within + name
                yield from _defined(statement.body, f"{within}{name}.")
            case ast.Assign(targets=targets):
                for target in targets:
                    yield from (within + found.id for found in ast.walk(target) if isinstance(found, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield within + name


def anchors_of(page: Path) -> set[str]:
    """The anchors by which GitHub lets a page's headings be linked to."""
    headings = (IN_CODE.sub(r"\1", heading) for heading in HEADING.findall(prose(page)))
    return {NOT_IN_SLUG.sub("", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_path_that_is_named_exists(page: Path) -> None:
    paths = [word.partition(":")[0] for word in words_in_code(page)]
    named = [path for path in paths if PATH.fullmatch(path) and not PLACEHOLDER.search(path)]
    assert [path for path in named if not list(ROOT.glob(path.rstrip("/")))] == []


@pytest.mark.parametrize("page", BESIDE_THE_CODE, ids=name_of)
def test_every_file_and_name_that_a_page_points_to_exists(page: Path) -> None:
    missing = []
    for word in words_in_code(page):
        if (pointed := FILE_AND_NAME.fullmatch(word)) is not None:
            files, name = files_called(pointed[1]), pointed[2]
        elif (pointed := MODULE_AND_NAME.fullmatch(word)) is not None and pointed[2] not in FILE_ENDINGS:
            files, name = files_called(f"{pointed[1]}.py"), pointed[2]
            if not files:
                continue  # of a library, or a word of the wire format
        else:
            continue
        if not files or (name is not None and not any(name in names_in(file) for file in files)):
            missing.append(word)
    assert missing == []


def test_the_architecture_page_has_a_line_for_every_package_and_module_of_the_tree() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    packages = {name_of(file.parent) for file in code_files() if file.name == "__init__.py" and file.parts[-3:-1]}
    shown = {package for package in packages if package.startswith("node/")}
    modules = {name_of(file) for file in (ROOT / "protocol").glob("*.py") if file.name != "__init__.py"}
    scripts = {file.stem for file in (ROOT / "scripts").glob("*.py")}
    missing = [name for name in sorted(shown) if f"`{name}/`" not in text]
    missing += [name for name in sorted(modules) if f"`{name.rpartition('/')[2]}`" not in text]
    missing += [name for name in sorted(scripts) if f"`{name}`" not in text]
    assert missing == []
