"""An objective from a folder of somebody's texts: read, copies left out, parted, cut into tokens, written.

Nothing is written before everything else has worked. The objective's folder gets tokens, as data that peers are not
given unless the person says so; names of files, and all that is known of them, go into a report beside the folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from node.authoring.corpus.duplicates import without_copies
from node.authoring.corpus.encoding import Encoding, FewWordsError
from node.authoring.corpus.folder import contents_of
from node.authoring.corpus.reader import open_reader
from node.authoring.corpus.report import Report, as_data, few_documents, write
from node.authoring.corpus.splits import Least, Splits, TooLittleError, cut, in_order, split
from node.authoring.fixing import fix_sums
from node.authoring.template import begin, name_of
from node.execution.sandbox import readable_paths
from node.objective.catalog import CatalogError
from node.objective.schema import SETTINGS, ObjectiveError

TEMPLATE = "corpus"
REPORT = "{name}-report.json"
LEARNT_BYTES = 24_000_000  # from which the encoding is learnt
SPARE = 1.2  # how many times as many tokens as its windows have a scored split needs at least
SYSTEM = Path("/usr")


@dataclass(frozen=True)
class Size:
    """A model, its budget, and the text that it needs. settings: by table of objective.toml; constants: by file."""

    name: str
    least: Least
    vocabulary: int
    scored_tokens: int  # in all windows that a run is asked about
    settings: Mapping[str, Mapping[str, Any]]
    constants: Mapping[str, Mapping[str, int]]


# As the template has it. A source may be 256 KiB long: a scored split has twice that.
ON_CPU = Size(
    "2 layers of width 128 and 1,024 tokens, some seconds of one core per run",
    Least(train=1 << 20, scored=512 << 10, most_train=16 << 20, most_scored=2 << 20),
    1024,
    (1024 + 3 * 64) * 65,
    {},
    {},
)
# nanolm's model, on a shorter context, so that a scored split of a few megabytes has room for all windows.
ON_GPU = Size(
    "8 layers of width 512 and 8,192 tokens, a minute of a GPU per run",
    Least(train=32 << 20, scored=4 << 20, most_train=240 << 20, most_scored=12 << 20),
    8192,
    1024 * 513,
    {
        "": {
            "device": "gpu",
            "summary": "A GPT of 34 million parameters on somebody's own texts; a minute of one GPU per run.",
        },
        "budget": {"seconds": 60, "warmup_seconds": 90, "wall_seconds": 600, "threads": 2, "memory_mb": 8000}
        | {"weights_mb": 400},
        "task": {"context": 512, "vocabulary": 8192, "checkpoints": []},
        "statistics": {"slope": 0},
    },
    {
        "train.py": {"DEPTH": 8, "WIDTH": 512, "BATCH": 128},
        "judge.py": {"CONTEXT": 512, "VOCABULARY": 8192, "BATCH": 16},
    },
)


@dataclass(frozen=True)
class Made:
    """What came of it. report: as data; path: where that is kept."""

    name: str
    report: dict[str, Any]
    path: Path


def make(folder: Path, name: str | None, texts: Path, gpu: bool, shared: bool, show: Callable[[str], None]) -> Made:
    """Make an objective of the texts in a folder. Raises CatalogError with a sentence for the person.

    gpu: whether this machine has one that runs could use; shared: whether peers may be given the texts; show: is told
    what is being done.
    """
    report_path = folder.resolve().with_name(REPORT.format(name=folder.resolve().name))
    name = name_of(folder, name)
    _refuse_places(folder, texts, report_path)
    hidden = _hidden(texts)
    show(f"reading {texts}")
    with open_reader() as reader:
        contents = contents_of(texts, reader, lambda count: show(f"{count:,} files read"))
    size = ON_GPU if gpu and sum(len(each.text) for each in contents.documents) >= _plenty(ON_GPU.least) else ON_CPU
    whole, length = cut(in_order(contents.documents), size.least)
    show(f"comparing {len(whole):,} documents")
    documents, copies = without_copies(whole)
    show("cutting them into tokens")
    try:
        splits = split(documents, size.least)
        encoding = _learnt(splits, size)
        tokens = {part: encoding.encode(each.text for each in found) for part, found in splits.named.items()}
        _refuse_few_tokens({part: len(found) for part, found in tokens.items()}, size)
    except TooLittleError as error:
        looked = f"{contents.files:,} files were looked at, {len(contents.skipped):,} passed over"
        raise CatalogError(f"{texts}: {error}. {looked}") from None
    warnings = few_documents(splits)
    counts = {part: len(found) for part, found in tokens.items()}
    report = as_data(Report(contents, tuple(copies), splits, counts, length, size.name, tuple(warnings)))
    begin(folder, name, TEMPLATE)
    try:
        for part, found in tokens.items():
            (folder / f"{part}.u16").write_bytes(found.astype("<u2").tobytes())
        (folder / "token_bytes.u8").write_bytes(encoding.lengths)
        _adapt(folder, size, hidden, shared)
        write(report, report_path)
        fix_sums(folder)
    except OSError as error:
        raise CatalogError(f"cannot write to {folder} ({error.strerror}); give another folder") from None
    except ObjectiveError as error:
        raise CatalogError(str(error)) from None
    return Made(name, report, report_path)


def _plenty(least: Least) -> int:
    """Bytes, copies included, with which a model of some size is sure to have enough: half of them may be copies."""
    return 2 * (least.train + 2 * least.scored)


def _refuse_places(folder: Path, texts: Path, report: Path) -> None:
    if not texts.is_dir():
        raise CatalogError(f"there is no folder {texts}; --texts names the folder with the texts")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CatalogError(f"{folder} is not an empty folder; give one that does not exist yet")
    if report.exists():
        raise CatalogError(f"{report} is there already; move it away, or give the objective another folder")
    if folder.resolve().is_relative_to(texts.resolve()):
        raise CatalogError(f"{folder} lies among the texts; give a folder elsewhere")
    if _readable(folder):
        raise CatalogError(f"every run could read what is in {folder}; give a folder outside {SYSTEM} and of Python's")


def _readable(path: Path) -> bool:
    """Whether a program in the sandbox could read a path."""
    shown = [Path(each).resolve() for each in (*readable_paths.system(), *readable_paths.python())]
    return any(path.resolve().is_relative_to(each) for each in shown)


def _hidden(texts: Path) -> list[str]:
    """What has to be hidden from runs, so that no source reads there what it is asked about. Raises CatalogError."""
    real = texts.resolve()
    if not _readable(real):
        return []
    if real.is_relative_to(SYSTEM) and re.fullmatch(r"(?:/[A-Za-z0-9_+-][A-Za-z0-9._+-]*){2,9}", str(real)):
        return [str(real)]
    raise CatalogError(
        f"every run can read {texts}, since Python or the system is there, and so a source could read what it is asked "
        "about. Move the texts to another folder"
    )


def _learnt(splits: Splits, size: Size) -> Encoding:
    """An encoding from the text to train on, or from the beginning of it. Raises TooLittleError."""
    text = b"\n".join(document.text for document in splits.train)[:LEARNT_BYTES]
    try:
        return Encoding(text, size.vocabulary)
    except FewWordsError:
        raise TooLittleError(f"too few different words to learn {size.vocabulary:,} tokens from. Add texts") from None


def _refuse_few_tokens(counts: dict[str, int], size: Size) -> None:
    needed = int(SPARE * size.scored_tokens)
    for part in ("val", "holdout"):
        if counts[part] < needed:
            raise TooLittleError(
                f"{part} has {counts[part]:,} tokens, and {needed:,} are needed, so that no two windows that a model "
                "is asked about overlap: these texts take few tokens for their bytes. Add texts"
            )


def _adapt(folder: Path, size: Size, hidden: list[str], shared: bool) -> None:
    """Write what depends on the texts and the size into the template's files."""
    settings = folder / SETTINGS
    document = tomlkit.parse(settings.read_text("utf-8"))
    for name, values in size.settings.items():
        table: Any = document[name] if name else document
        for key, value in values.items():
            table[key] = value
    budget: Any = document["budget"]
    if "seconds" in budget:
        del budget["tokens"]
    rows: Any = document["data"]
    for row in rows if shared else ():
        del row["shared"]
    text = tomlkit.dumps(document)
    if hidden:
        note = "# The texts lie in it, and without this every run could read there what it is asked about."
        text = text.replace("\ndevice = ", f"\n{note}\nhidden = {json.dumps(hidden)}\ndevice = ", 1)
    settings.write_text(text, "utf-8")
    for name, constants in size.constants.items():
        text = (folder / name).read_text("utf-8")
        for constant, value in constants.items():
            text, count = re.subn(rf"(?m)^{constant} = \d+", f"{constant} = {value}", text)
            assert count == 1, constant
        (folder / name).write_text(text, "utf-8")
