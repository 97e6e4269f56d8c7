"""Reading an objective's folder: settings, files and id, checked once; and writing a peer's objective to disk.

An `Objective` that `load_objective` returned is valid, so nothing behind it checks again. The files are read and hashed
here; none of them is run.
"""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from node.objective.data import STAMP
from node.objective.schema import SETTINGS, Budget, Data, Objective, ObjectiveError, Prior, Statistics
from node.platform.hardware import ComputeClass
from protocol.codec import MalformedError
from protocol.fields import TEXT_LIMITS, is_plain
from protocol.objective import (
    MAX_FILE_BYTES,
    FileEntry,
    Manifest,
    decode_manifest,
    encode_manifest,
    objective_id,
    safe_path,
)

MAX_TEXT = 500  # characters of one text
MAX_ROWS = 100  # of one list or table
MAX_WHOLE = 2**63 - 1  # what a manifest, a record and a machine's counter hold
# The settings outside of lists, by table, and how each is read.
FIELDS: Mapping[str, Mapping[str, str]] = {
    "": {
        "name": "text", "summary": "text", "editable": "text", "judge": "text", "prepare": "text",
        "draw": "text", "categories": "texts",
    },
    "metric": {"name": "text", "unit": "text", "direction": "text"},
    "budget": {"tokens": "whole", "wall_seconds": "number", "threads": "whole", "memory_mb": "whole",
               "weights_mb": "weights"},
    "task": {"context": "whole", "vocabulary": "whole", "checkpoints": "wholes", "secret_seed": "flag"},
    "statistics": {
        "s0": "number", "cost_s0": "number", "slope": "number", "cost_deadband": "number",
        "minimum_effect": "number", "max_pairs": "whole",
    },
}  # fmt: skip
OPTIONAL = {("", "prepare"), ("", "draw"), ("budget", "weights_mb"), ("task", "secret_seed")}
DEFAULT_WEIGHTS_MB, MOST_WEIGHTS_MB = 64, 1024  # of one model; the node holds each of a run in memory


class _Table:
    """A table of objective.toml and the checks of its fields. Every method raises ObjectiveError naming the field."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise ObjectiveError(f"{SETTINGS}: [{where}] is missing or no table")
        self.values, self.where = values, where

    def _get(self, name: str, kind: type | tuple[type, ...], expected: str) -> Any:
        value = self.values.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            setting = f"{self.where}.{name}" if self.where else name
            raise ObjectiveError(f"{SETTINGS}: {setting} must be {expected}, not {_shown(value):.80}")
        return value

    def text(self, name: str) -> str:
        value = str(self._get(name, str, "text"))
        if not is_plain(value) or len(value) > MAX_TEXT:
            raise ObjectiveError(f"{SETTINGS}: {name} must be at most {MAX_TEXT} characters of plain text")
        return value

    def whole(self, name: str) -> int:
        value = self._get(name, int, "a whole number above 0")
        if value <= 0:
            raise ObjectiveError(f"{SETTINGS}: {self.where}.{name} must be above 0, not {value}")
        if value > MAX_WHOLE:  # and it is not shown: in hexadecimal, TOML takes a number of any length
            raise ObjectiveError(f"{SETTINGS}: {self.where}.{name} must be at most {MAX_WHOLE}")
        return int(value)

    def weights(self, name: str) -> int:
        value = self.whole(name)
        if value > MOST_WEIGHTS_MB:
            raise ObjectiveError(f"{SETTINGS}: {self.where}.{name} must be at most {MOST_WEIGHTS_MB}, not {value}")
        return value

    def number(self, name: str) -> float:
        value = self._get(name, (int, float), "a number")
        if not abs(value) <= MAX_WHOLE:  # TOML has inf and nan too, and whole numbers that no float holds
            raise ObjectiveError(f"{SETTINGS}: {self.where}.{name} must be a number below {MAX_WHOLE}")
        return float(value)

    def flag(self, name: str) -> bool:
        value = self.values.get(name)
        if not isinstance(value, bool):
            raise ObjectiveError(f"{SETTINGS}: {self.where}.{name} must be true or false, not {_shown(value):.80}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._get(name, list, "a list of texts")
        if not all(isinstance(value, str) for value in values):
            raise ObjectiveError(f"{SETTINGS}: {self.where}.{name} must be a list of texts")
        return tuple(values)

    def wholes(self, name: str) -> tuple[int, ...]:
        values = self._get(name, list, "a list of whole numbers")
        if not all(isinstance(value, int) and value > 0 for value in values):
            raise ObjectiveError(f"{SETTINGS}: {self.where}.{name} must be a list of whole numbers above 0")
        return tuple(values)

    def table(self, name: str) -> _Table:
        return _Table(self.values.get(name), name)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # a hexadecimal number of more digits than Python writes in decimal
        return "so long a number"


def load_objective(root: Path, data_dir: Path) -> Objective:
    """Read an objective's folder. `data_dir` is where its data are or will be.

    Raises ObjectiveError for the first thing that is wrong; `complaints` finds all of them.
    """
    settings = _read_settings(root)
    data = _data(settings.values)
    files = _read_files(root, {item.entry.path for item in data})
    manifest_bytes = _manifest(root, settings.text("name"), files, data)
    metric = settings.table("metric")
    budget = settings.table("budget")
    task = settings.table("task")
    if metric.text("direction") != "lower":
        raise ObjectiveError(f'{SETTINGS}: metric.direction must be "lower" (the statistics are those of a loss)')
    objective = Objective(
        id=objective_id(manifest_bytes),
        manifest_bytes=manifest_bytes,
        files=files,
        root=root,
        data_dir=data_dir,
        name=settings.text("name"),
        summary=settings.text("summary"),
        metric=metric.text("name"),
        unit=metric.text("unit"),
        editable=settings.text("editable"),
        judge=settings.text("judge"),
        prepare=settings.text("prepare") if "prepare" in settings.values else None,
        draw=settings.text("draw") if "draw" in settings.values else None,
        budget=Budget(
            budget.whole("tokens"),
            budget.number("wall_seconds"),
            budget.whole("threads"),
            budget.whole("memory_mb") << 20,
            (budget.weights("weights_mb") if "weights_mb" in budget.values else DEFAULT_WEIGHTS_MB) << 20,
        ),
        context=task.whole("context"),
        vocabulary=task.whole("vocabulary"),
        checkpoints=task.wholes("checkpoints"),
        secret_seed=_secret_seed(settings.values, task),
        categories=settings.texts("categories"),
        priors=_priors(settings.values.get("priors", {}), "priors"),
        classes=tuple(_compute_class(_Table(row, "classes")) for row in _rows(settings, "classes")),
        class_priors={
            _Table(row, "classes").text("name"): _priors(row.get("priors", {}), "classes.priors")
            for row in _rows(settings, "classes")
        },
        statistics=_statistics(settings.table("statistics")),
        data=data,
    )
    for name in (objective.editable, objective.judge, objective.prepare, objective.draw):
        if name is not None and name not in files:
            raise ObjectiveError(f"{SETTINGS} names {name}, which is not in {root}")
    return objective


def _secret_seed(settings: dict[str, Any], task: _Table) -> bool:
    drawn = "draw" in settings
    secret = task.flag("secret_seed") if "secret_seed" in task.values else drawn
    if drawn and not secret:
        raise ObjectiveError(f"{SETTINGS}: with draw the seed is always secret; remove task.secret_seed")
    return secret


def _read_settings(root: Path) -> _Table:
    try:
        return _Table(tomllib.loads((root / SETTINGS).read_text("utf-8")), "")
    except OSError:
        raise ObjectiveError(f"{root} has no {SETTINGS} that can be read") from None
    except (ValueError, RecursionError) as error:
        raise ObjectiveError(f"{root / SETTINGS}: {error}") from None


def _manifest(root: Path, name: str, files: Mapping[str, bytes], data: Sequence[Data]) -> bytes:
    """The manifest, from whose hash the objective has its id. It is read back, so that every peer can read it too."""
    entries = [FileEntry(path, hashlib.sha256(content).digest(), len(content)) for path, content in files.items()]
    manifest_bytes = encode_manifest(Manifest(name, tuple(entries), tuple(item.entry for item in data)))
    try:
        decode_manifest(manifest_bytes)
    except MalformedError as error:
        raise ObjectiveError(f"{root}: {error}") from None
    return manifest_bytes


def complaints(root: Path) -> list[str]:
    """Everything in a folder that `load_objective` would refuse, not only the first; empty when it refuses nothing."""
    try:
        settings = _Table(tomllib.loads((root / SETTINGS).read_text("utf-8")), "")
    except (OSError, ValueError, RecursionError) as error:
        return [f"{SETTINGS}: cannot be read: {error}"]
    found: list[str] = []

    def attempt(read: Callable[..., object], *arguments: object) -> Any:
        """What `read` returns; None, with its complaint noted, where it raises."""
        try:
            return read(*arguments)
        except ObjectiveError as error:
            found.append(str(error))
            return None

    for where, kinds in FIELDS.items():
        table = attempt(settings.table, where) if where else settings
        for name, kind in kinds.items() if table is not None else ():
            if (where, name) not in OPTIONAL or name in table.values:
                attempt(getattr(table, kind), name)
    for row in attempt(_rows, settings, "classes") or ():
        attempt(_compute_class, _Table(row, "classes"))
        attempt(_priors, row.get("priors", {}), "classes.priors")
    priors = settings.values.get("priors", {})
    for category, row in priors.items() if isinstance(priors, dict) else ():
        attempt(_priors, {category: row}, "priors")
    before = len(found)
    for row in attempt(_rows, settings, "data") or ():
        attempt(_one_data, row)
    if len(found) == before:
        attempt(_data, settings.values)
    for name in ("editable", "judge", "prepare", "draw"):
        file = settings.values.get(name)
        if isinstance(file, str) and not (root / file).is_file():
            found.append(f"{SETTINGS}: {name} names {file}, which is not in {root}")
    if not found:  # what shows only in the objective as a whole, such as a manifest that is too large
        attempt(load_objective, root, root)
    return found


def _statistics(table: _Table) -> Statistics:
    return Statistics(
        s0=table.number("s0"),
        cost_s0=table.number("cost_s0"),
        slope=table.number("slope"),
        cost_deadband=table.number("cost_deadband"),
        minimum_effect=table.number("minimum_effect"),
        max_pairs=table.whole("max_pairs"),
    )


def _priors(values: Any, where: str) -> dict[str, Prior]:
    """{category: {success = 0..1, gain = above 0, at most 1}}; other categories have the strategy's default prior."""
    if not isinstance(values, dict) or len(values) > MAX_ROWS:
        raise ObjectiveError(f"{SETTINGS}: [{where}] must be a table of at most {MAX_ROWS} categories")
    found = {}
    for category, row in values.items():
        table = _Table(row, f"{where}.{category}")
        prior = Prior(table.number("success"), table.number("gain"))
        if not 0 <= prior.success <= 1 or not 0 < prior.gain <= 1:
            raise ObjectiveError(f"{SETTINGS}: [{where}] {category} needs a success from 0 to 1 and a gain up to 1")
        found[category] = prior
    return found


def _rows(settings: _Table, name: str) -> list[dict[str, Any]]:
    rows = settings.values.get(name, [])
    if not isinstance(rows, list) or len(rows) > MAX_ROWS or not all(isinstance(row, dict) for row in rows):
        raise ObjectiveError(f"{SETTINGS}: {name} must be at most {MAX_ROWS} [[{name}]]")
    return rows


def _compute_class(table: _Table) -> ComputeClass:
    name, device = table.text("name"), table.text("device")
    if device not in ("cpu", "gpu") or not 0 < len(name) <= TEXT_LIMITS["class"]:
        raise ObjectiveError(f'{SETTINGS}: class {name!r:.60} needs a short name and a device, "cpu" or "gpu"')
    speed, memory = table.number("tokens_per_second"), table.number("memory_mb")
    if speed < 0 or memory < 0:
        raise ObjectiveError(f"{SETTINGS}: class {name} needs a tokens_per_second and a memory_mb of 0 or more")
    tokens = table.whole("budget_tokens") if "budget_tokens" in table.values else None
    return ComputeClass(name, device, speed, int(memory) << 20, tokens)


def _data(settings: dict[str, Any]) -> tuple[Data, ...]:
    if "draw" in settings:
        if "data" in settings or "prepare" in settings:
            raise ObjectiveError(f"{SETTINGS}: with draw there is no text in files; remove [[data]] and prepare")
        return ()
    rows = settings.get("data")
    if not isinstance(rows, list):
        raise ObjectiveError(f"{SETTINGS}: [[data]] is missing, and no module that draws the text is named under draw")
    found = [_one_data(row) for row in rows]
    if [item.room for item in found].count("candidate") != 1:
        raise ObjectiveError(f'{SETTINGS}: exactly one [[data]] must have room = "candidate"')
    return tuple(found)


def _one_data(row: Any) -> Data:
    table = _Table(row, "data")
    path, room = table.text("path"), table.text("room")
    if not safe_path(path) or "/" in path or path == STAMP:
        raise ObjectiveError(f"{SETTINGS}: data.path must be a plain file name, not {path!r}")
    if room not in ("candidate", "judge"):
        raise ObjectiveError(f'{SETTINGS}: data.room must be "candidate" or "judge", not {room!r}')
    try:
        digest = bytes.fromhex(table.text("sha256"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ObjectiveError(f"{SETTINGS}: data.sha256 of {path} must be 64 hexadecimal digits")
    return Data(table.text("name"), FileEntry(path, digest, table.whole("size")), room)


def _read_files(root: Path, data_paths: set[str]) -> dict[str, bytes]:
    """Every file below the folder by its relative path; caches, hidden files and declared data are left out."""
    files = {}
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        passed_over = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
        if passed_over or relative.as_posix() in data_paths or not path.is_file():
            continue
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ObjectiveError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB; declare it as [[data]] instead")
        files[relative.as_posix()] = path.read_bytes()
    return files


def write_objective(files: Mapping[str, bytes], root: Path) -> None:
    """Write a peer's objective to the folder `root`, whole or not at all.

    Raises ObjectiveError for an unsafe path, and when the files cannot be written.
    """
    unsafe = [path for path in files if not safe_path(path)]
    if unsafe:
        raise ObjectiveError(f"the objective has an unsafe path: {unsafe[0]!r}")
    draft = root.with_name(root.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        for path, content in files.items():
            target = draft / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        draft.rename(root)
    except OSError as error:  # a full disk, something in the way, or a peer's paths that cannot exist together
        shutil.rmtree(draft, ignore_errors=True)
        raise ObjectiveError(f"the objective cannot be written to {root}: {error.strerror}") from None
