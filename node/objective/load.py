"""Reading an objective's folder: settings, files and id, checked once; and writing a peer's objective to disk.

An `Objective` that `load_objective` returned is valid, so nothing behind it checks again. The files are read and hashed
here; none of them is run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tomllib
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from node.objective.data import STAMP
from node.objective.downloads import read_downloads
from node.objective.kinds import (
    NEEDED,
    fields_of,
    kind_of,
    read_budget,
    read_command,
    read_environment,
    read_hidden,
    read_metric,
    read_program,
    read_statistics,
)
from node.objective.scales import DEVICES, device_of, read_scales, spreads
from node.objective.schema import DIRECTION, SETTINGS, Data, Kind, Objective, ObjectiveError, Prior
from node.objective.table import MAX_ROWS, Table
from node.objective.trees import MAX_PATH, MAX_SOURCE_CHARACTERS, TreeError
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

MOST_TOKENS = 1 << 16  # different ones, of which each is two bytes of a text


def load_objective(root: Path, data_dir: Path) -> Objective:
    """Read an objective's folder. `data_dir` is where its data are or will be.

    Raises ObjectiveError for the first thing that is wrong; `complaints` finds all of them.
    """
    settings = _read_settings(root)
    kind = kind_of(settings)
    data = _data(settings, kind)
    files = _read_files(root, settings, {item.entry.path for item in data})
    manifest_bytes = _manifest(root, settings.text("name"), files, data)
    task = settings.table("task") if kind == Kind.MODEL else Table({}, "task")
    secret_seed = _secret_seed(settings, kind, task)
    budget = read_budget(settings.table("budget"), kind)
    program = read_program(_optional_table(settings, "program")) if kind == Kind.PROGRAM else None
    # A program's seconds are a limit and no time to be used, so that its answers do not depend on them.
    on_gpu = device_of(settings) == "gpu"
    repeatable = not (program.timed or on_gpu) if program is not None else kind == Kind.MODEL and budget.seconds is None
    noise = settings.table("statistics")
    metric = read_metric(settings.table("metric"), noise, spreads(settings, kind, repeatable))
    if budget.seconds is not None and kind == Kind.MODEL and noise.number("slope") != 0:
        raise ObjectiveError(f"{SETTINGS}: statistics.slope must be 0 with budget.seconds: what is slow trains less")
    objective = Objective(
        kind=kind,
        id=objective_id(manifest_bytes),
        manifest_bytes=manifest_bytes,
        files=files,
        root=root,
        data_dir=data_dir,
        name=settings.text("name"),
        summary=settings.text("summary"),
        metric=settings.table("metric").text("name"),
        unit=settings.table("metric").text("unit"),
        editable=settings.paths("editable"),
        judge=settings.path("judge") if kind != Kind.COMMAND else None,
        prepare=settings.path("prepare") if "prepare" in settings and kind != Kind.COMMAND else None,
        draw=settings.path("draw") if "draw" in settings and kind != Kind.COMMAND else None,
        budget=budget,
        device=device_of(settings),
        context=task.whole("context") if kind == Kind.MODEL else 0,
        vocabulary=task.whole("vocabulary") if kind == Kind.MODEL else 0,
        checkpoints=task.wholes("checkpoints") if kind == Kind.MODEL else (),
        secret_seed=secret_seed,
        categories=_categories(settings),
        priors=_priors(settings.values.get("priors", {}), "priors", metric.unit),
        classes=_compute_classes(settings),
        class_priors={
            row.text("name"): _priors(row.values.get("priors", {}), "classes.priors", metric.unit)
            for row in settings.rows("classes")
        },
        statistics=read_statistics(noise, metric, kind),
        data=data,
        command=read_command(settings.table("command")) if kind == Kind.COMMAND else None,
        environment=read_environment(settings.table("environment")) if "environment" in settings else None,
        program=program,
        scales=read_scales(settings, kind, task, metric.unit),
        downloads=read_downloads(settings),
        hidden=read_hidden(settings) if kind != Kind.COMMAND else (),
        token_bytes=task.path("token_bytes") if "token_bytes" in task else None,
        history=settings.path("history") if "history" in settings else None,
        direction=settings.path("direction") if "direction" in settings else DIRECTION,
    )
    _refuse_absent(objective)
    return objective


def _optional_table(settings: Table, name: str) -> Table:
    return settings.table(name) if name in settings else Table({}, name)


def _refuse_absent(objective: Objective) -> None:
    """Raise ObjectiveError where a file that the settings name is not among the objective's, or cannot be edited."""
    for name in _named_files(objective):
        if name not in objective.files:
            raise ObjectiveError(f"{SETTINGS} names {name}, which is not in {objective.root}")
    try:
        size = len(objective.source.encode())
    except UnicodeDecodeError:
        raise ObjectiveError(f"{SETTINGS}: an editable file is not UTF-8 text, so it cannot be edited") from None
    except TreeError as error:
        raise ObjectiveError(f"{SETTINGS}: the editable files cannot be one source: {error}") from None
    if size > MAX_SOURCE_CHARACTERS:
        most = MAX_SOURCE_CHARACTERS >> 10
        raise ObjectiveError(f"{SETTINGS}: the editable file has {size >> 10} KiB; at most {most} will do")
    _refuse_odd_vocabulary(objective)
    locked = set(objective.program.modules).intersection(objective.editable) if objective.program is not None else None
    if locked:
        raise ObjectiveError(f"{SETTINGS}: {locked.pop()} is editable, so program.modules cannot have it")
    environment = objective.environment
    both = set(environment.paths).intersection(objective.editable) if environment is not None else None
    if both:
        raise ObjectiveError(f"{SETTINGS}: {both.pop()} is editable, so environment.paths cannot have it")
    if environment is not None and environment.lock is not None:
        lock = environment.lock
        if hashlib.sha256(objective.files[lock.path]).digest() != lock.sha256:
            raise ObjectiveError(f"{SETTINGS}: environment.lock_sha256 is not that of {lock.path}")


def _refuse_odd_vocabulary(objective: Objective) -> None:
    """Raise ObjectiveError where tokens are too many, or the table of their bytes is not one byte for each."""
    if objective.vocabulary > MOST_TOKENS:
        raise ObjectiveError(f"{SETTINGS}: task.vocabulary must be at most {MOST_TOKENS}, not {objective.vocabulary}")
    table = objective.token_bytes
    if table is not None and len(objective.files[table]) != objective.vocabulary:
        raise ObjectiveError(
            f"{SETTINGS}: {table} has {len(objective.files[table])} bytes and must have {objective.vocabulary}: one "
            "for each token, the number of its own bytes"
        )


def _named_files(objective: Objective) -> list[str]:
    """The files that the settings name, those among them that a folder need not have left out."""
    command, environment = objective.command, objective.environment
    named: list[str | None] = [*objective.editable, objective.judge, objective.prepare, objective.draw]
    named += [objective.history, objective.token_bytes]
    named += [objective.direction if objective.direction != DIRECTION else None]
    if command is not None:
        named += [command.evaluator, *(rewrite.file for rewrite in command.seed_rewrites)]
    if environment is not None and environment.lock is not None:
        named.append(environment.lock.path)
    if objective.program is not None:
        named += objective.program.modules
    return [name for name in named if name is not None]


def _categories(settings: Table) -> tuple[str, ...]:
    found = settings.texts("categories")
    most = TEXT_LIMITS["category"]
    if not all(is_plain(name) and len(name) <= most for name in found):
        raise ObjectiveError(f"{SETTINGS}: categories have at most {most} characters of plain text")
    return found


def _secret_seed(settings: Table, kind: Kind, task: Table) -> bool:
    if kind == Kind.PROGRAM:
        return True
    drawn = "draw" in settings
    secret = task.flag("secret_seed") if "secret_seed" in task else drawn
    if drawn and not secret:
        raise ObjectiveError(f"{SETTINGS}: with draw the seed is always secret; remove task.secret_seed")
    return secret


def _read_settings(root: Path) -> Table:
    try:
        return Table(tomllib.loads(settings_text(root)), "")
    except OSError:
        raise ObjectiveError(f"{root} has no {SETTINGS} that can be read") from None
    except (ValueError, RecursionError) as error:
        raise ObjectiveError(f"{root / SETTINGS}: {error}") from None


def settings_text(root: Path) -> str:
    """What objective.toml says. Raises OSError and ValueError."""
    return settings_bytes(root).decode("utf-8-sig").replace("\r\n", "\n")


def settings_bytes(root: Path) -> bytes:
    """Raises OSError and ValueError. A FIFO or a device in a stranger's folder would be read without end."""
    if not (root / SETTINGS).is_file():
        raise FileNotFoundError("there is no such file")
    with (root / SETTINGS).open("rb") as file:
        text = file.read(MAX_FILE_BYTES + 1)
    if len(text) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
    return text


def _manifest(root: Path, name: str, files: Mapping[str, bytes], data: Sequence[Data]) -> bytes:
    """The manifest, from whose hash the objective has its id. It is read back, so that every peer can read it too."""
    unsafe = next((path for path in files if not safe_path(path)), None)
    if unsafe is not None:  # not shown as it is: it may be no text at all
        raise ObjectiveError(f"{root} has a file whose name no objective can have: {unsafe!a:.200}")
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
        settings = Table(tomllib.loads(settings_text(root)), "")
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

    kind = attempt(kind_of, settings)
    if kind is None:
        return found
    needed = NEEDED[kind]
    for where, kinds in fields_of(kind).items():
        if where and where not in needed and where not in settings:
            continue
        table = attempt(settings.table, where) if where else settings
        for name, reading in kinds.items() if table is not None else ():
            if name in needed.get(where, {}) or name in table:
                attempt(getattr(table, reading), name)
    _attempt_tables(settings, kind, attempt)
    for name in ("editable", "judge", "prepare", "draw"):
        value = settings.values.get(name)
        files = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        absent = [file for file in files if isinstance(file, str) and not _is_file(root / file)]
        found += [f"{SETTINGS}: {name} names {file}, which is not in {root}" for file in absent]
    if not found:  # what shows only in the objective as a whole, such as a manifest that is too large
        attempt(load_objective, root, root)
    return list(dict.fromkeys(found))


def _attempt_tables(settings: Table, kind: Kind, attempt: Callable[..., Any]) -> None:
    """What is wrong in lists and in tables that are read as a whole."""
    for row in attempt(settings.rows, "classes") or ():
        attempt(_compute_class, row)
        attempt(_priors, row.values.get("priors", {}), "classes.priors", 1.0)
    attempt(read_downloads, settings)
    attempt(read_hidden, settings)
    priors = settings.values.get("priors", {})
    for category, row in priors.items() if isinstance(priors, dict) else ():
        attempt(_priors, {category: row}, "priors", 1.0)
    readable = [attempt(_one_data, row) is not None for row in attempt(settings.rows, "data") or ()]
    if all(readable):
        attempt(_data, settings, kind)


def _priors(values: Any, where: str, unit: float) -> dict[str, Prior]:
    """{category: {success = 0..1, gain = above 0}}; other categories have the strategy's default prior.

    Gains of a linear metric are in its units; of a logarithmic one they are at most 1, as is what `unit` makes of them.
    """
    if not isinstance(values, dict) or len(values) > MAX_ROWS:
        raise ObjectiveError(f"{SETTINGS}: [{where}] must be a table of at most {MAX_ROWS} categories")
    found = {}
    for category, row in values.items():
        table = Table(row, f"{where}.{category}")
        prior = Prior(table.number("success"), table.number("gain") / unit)
        if not 0 <= prior.success <= 1 or not 0 < prior.gain <= 1:
            raise ObjectiveError(f"{SETTINGS}: [{where}] {category} needs a success from 0 to 1 and a gain up to 1")
        found[category] = prior
    return found


def _compute_classes(settings: Table) -> tuple[ComputeClass, ...]:
    """The classes. A name tells what runs are made on, so none is given twice, nor that of the other device."""
    found = tuple(_compute_class(row) for row in settings.rows("classes"))
    names = [one.name for one in found]
    for one in found:
        if names.count(one.name) > 1:
            raise ObjectiveError(f"{SETTINGS}: there are two classes named {one.name!r}; give one another name")
        if one.name in DEVICES and one.name != one.device:
            raise ObjectiveError(f'{SETTINGS}: class {one.name!r} is of device "{one.device}"; give it another name')
    return found


def _compute_class(table: Table) -> ComputeClass:
    name, device = table.text("name"), table.text("device")
    if device not in DEVICES or not 0 < len(name) <= TEXT_LIMITS["class"]:
        raise ObjectiveError(f'{SETTINGS}: class {name!r:.60} needs a short name and a device, "cpu" or "gpu"')
    speed, memory = table.number("tokens_per_second"), table.number("memory_mb")
    if speed < 0 or memory < 0:
        raise ObjectiveError(f"{SETTINGS}: class {name} needs a tokens_per_second and a memory_mb of 0 or more")
    if "budget_tokens" in table:
        raise ObjectiveError(
            f"{SETTINGS}: class {name} has budget_tokens, which this version does not know; give machines that need "
            "another budget one of [[scales]]"
        )
    return ComputeClass(name, device, speed, int(memory) << 20)


def _data(settings: Table, kind: Kind) -> tuple[Data, ...]:
    if "draw" in settings or kind == Kind.COMMAND:
        if "data" in settings or "prepare" in settings:
            drawn = "draw" in settings
            why = "with draw there is no text in files" if drawn else "a command reads the objective's own files"
            raise ObjectiveError(f"{SETTINGS}: {why}; remove [[data]] and prepare")
        return ()
    if kind == Kind.MODEL and "data" not in settings:
        raise ObjectiveError(f"{SETTINGS}: [[data]] is missing, and no module that draws the text is named under draw")
    found = [_one_data(row) for row in settings.rows("data")]
    if kind == Kind.MODEL and [item.room for item in found].count("candidate") != 1:
        raise ObjectiveError(f'{SETTINGS}: exactly one [[data]] must have room = "candidate"')
    return tuple(found)


def _one_data(table: Table) -> Data:
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
    shared = table.flag("shared") if "shared" in table else True
    return Data(table.text("name"), FileEntry(path, digest, table.whole("size")), room, shared)


def _read_files(root: Path, settings: Table, data_paths: set[str]) -> dict[str, bytes]:
    """The objective's files by their relative paths: all below the folder, or those that match one of `files`.

    Without `files`, hidden files and caches are left out. The settings and the editable files always belong, and the
    folders of the environment never do.
    """
    patterns = settings.texts("files") if "files" in settings else ()
    always = {SETTINGS, *settings.paths("editable")}
    files = {}
    environment = settings.table("environment") if "environment" in settings else Table({}, "environment")
    apart = environment.texts("paths") if "paths" in environment else ()
    for path in walk_files(root, hidden=bool(patterns), enters=lambda folder: folder not in apart):
        relative = path.relative_to(root).as_posix()
        matches = any(fnmatchcase(relative, pattern) for pattern in patterns) if patterns else True
        if relative in data_paths or not (matches or relative in always):
            continue
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ObjectiveError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB; declare it as [[data]] instead")
        files[relative] = path.read_bytes()
    return files


def walk_files(root: Path, hidden: bool, enters: Callable[[str], bool] = lambda folder: True) -> list[Path]:
    """The regular files below a folder in order of their paths, without caches; git's own folder is always hidden.

    A link counts as the file it leads to, if that lies in the folder: what belongs to an objective is sent to peers,
    and a stranger's repository may have a link to a person's keys. enters: whether a folder, by its relative path, is
    looked into. Folders whose path is longer than any file's of an objective may be are not.
    """
    inside = root.resolve()

    def passed_over(name: str) -> bool:
        return name in (".git", "__pycache__") or (name.startswith(".") and not hidden)

    def belongs(path: Path) -> bool:
        return path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(inside))

    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        relative = Path(folder).relative_to(root)
        inner = [name for name in folders if not passed_over(name) and len((relative / name).as_posix()) < MAX_PATH]
        folders[:] = [name for name in inner if enters((relative / name).as_posix())]
        found += [Path(folder, name) for name in names if not passed_over(name)]
    return sorted(path for path in found if belongs(path))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


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
