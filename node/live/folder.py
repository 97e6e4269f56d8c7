"""A live folder as a person writes it: `live.toml`, the variants' files, ideas. Decoded once, here.

It knows nothing of what was approved or what anybody answered; that is in `state/`, which `store` keeps.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

SETTINGS = "live.toml"
VARIANTS = "variants"
IDEAS = "ideas"
STATE = "state"
CONTROL = "control"
ENDINGS = {".html": "text/html; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".md": "text/plain; charset=utf-8"}
MAX_FILE_BYTES = 1 << 20
MAX_FILES = 200
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")

Name = Annotated[str, Meta(pattern=rf"^{NAME.pattern}$")]
Text = Annotated[str, Meta(max_length=500)]
Ratio = Annotated[float, Meta(gt=0.0, le=10.0)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]


T = TypeVar("T")


class LiveError(Exception):
    """The folder cannot be used as it is, or a command does not fit it; the text says what to do."""


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that visitors do. target: where its signed link leads."""

    name: Name
    target: Text = ""


class Guard(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that must not become more frequent than `allowed` times what it is at the control."""

    name: Name
    target: Text = ""
    allowed: Ratio = 1.0


class Rules(Struct, frozen=True, forbid_unknown_fields=True):
    """When something is said of a variant. The same from the first approval on: see `Store.freeze`."""

    level: Annotated[float, Meta(gt=0.0, le=0.2)] = 0.05
    most_variants: Annotated[int, Meta(ge=1, le=20)] = 5
    minimum_visitors: Count = 200
    minimum_answers: Count = 10


class StopLoss(Struct, frozen=True, forbid_unknown_fields=True):
    """What a variant may cost before it leaves traffic by itself. lost: answers, against the control's rate."""

    lost: Annotated[float, Meta(gt=0.0, le=1e9)] = 50.0


class Traffic(Struct, frozen=True, forbid_unknown_fields=True):
    """Who takes part, and who is not counted."""

    share: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    behind_proxy: bool = False
    new_visitors_an_address: Annotated[int, Meta(ge=1)] = 100
    too_fast_seconds: Annotated[float, Meta(ge=0.0, le=3600.0)] = 1.0


class Claim(Struct, frozen=True, forbid_unknown_fields=True):
    """Words that promise what may not be promised."""

    words: Text
    why: Text


class Constraints(Struct, frozen=True, forbid_unknown_fields=True):
    """What every variant has to keep to."""

    must_have: tuple[Text, ...] = ()
    must_not_have: tuple[Text, ...] = ()
    claims: tuple[Claim, ...] = ()
    colours: tuple[Annotated[str, Meta(pattern=r"^#[0-9a-f]{6}$")], ...] = ()
    hosts: tuple[Annotated[str, Meta(pattern=r"^[a-z0-9.-]+$")], ...] = ()
    longest: Annotated[int, Meta(ge=1, le=200_000)] = 20_000


class Themed(Struct, frozen=True, forbid_unknown_fields=True):
    """A variant's themes: what of `ideas` it tries."""

    name: Name
    themes: tuple[Name, ...] = ()


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """live.toml."""

    name: Text
    answer: Answer
    guard: tuple[Guard, ...] = ()
    rules: Rules = Rules()
    stop_loss: StopLoss = StopLoss()
    traffic: Traffic = Traffic()
    constraints: Constraints = Constraints()
    variant: tuple[Themed, ...] = ()
    approvers: tuple[Text, ...] = ()
    share_themes: bool = False

    @property
    def answers(self) -> dict[str, str]:
        """Everything that is counted, with where its link leads."""
        return {self.answer.name: self.answer.target} | {guard.name: guard.target for guard in self.guard}


class _Idea(Struct, frozen=True, forbid_unknown_fields=True):
    theme: Name
    title: Text
    reason: Text


class _Ideas(Struct, frozen=True, forbid_unknown_fields=True):
    category: Name
    idea: tuple[_Idea, ...]


@dataclass(frozen=True)
class Theme:
    """One thing that a variant can try."""

    name: str
    category: str
    title: str


@dataclass(frozen=True)
class Variant:
    """A variant as its file has it now."""

    name: str
    path: Path
    content: bytes
    themes: tuple[str, ...]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def content_type(self) -> str:
        return ENDINGS[self.path.suffix]


@dataclass(frozen=True)
class Folder:
    """A live folder, read whole."""

    root: Path
    settings: Settings
    variants: dict[str, Variant]
    themes: dict[str, Theme]

    @property
    def state(self) -> Path:
        return self.root / STATE


def is_live(root: Path) -> bool:
    """Whether a folder is one of these."""
    return (root / SETTINGS).is_file()


def read_folder(root: Path) -> Folder:
    """Read and check a folder. Raises LiveError for the first thing that is wrong."""
    if not is_live(root):
        raise LiveError(f"{root} has no {SETTINGS}; `autoresearch-node objective new live {root}` begins a folder")
    settings = _decoded(root / SETTINGS, Settings)
    themes = _themes(root)
    variants = _variants(root, {each.name: each.themes for each in settings.variant})
    _check_names(settings, variants, themes)
    return Folder(root, settings, variants, themes)


def _check_names(settings: Settings, variants: dict[str, Variant], themes: dict[str, Theme]) -> None:
    names = [settings.answer.name, *(guard.name for guard in settings.guard)]
    if len(set(names)) < len(names):
        raise LiveError(f"{SETTINGS}: two of the answer and the guards have one name; give each its own")
    for name, target in settings.answers.items():
        if target and not re.match(r"https?://[^\s]+$", target):
            raise LiveError(f"{SETTINGS}: the target of {name} is no address that begins with https://")
    if CONTROL not in variants:
        raise LiveError(f"{VARIANTS}/ has no {CONTROL}.html, .txt or .md: what is there today, to compare with")
    for each in settings.variant:
        if each.name not in variants:
            raise LiveError(f"{SETTINGS} names the variant {each.name}, which has no file in {VARIANTS}/")
        for theme in each.themes:
            if theme not in themes:
                raise LiveError(f"{SETTINGS}: no file in {IDEAS}/ has the theme {theme} of {each.name}; add it there")


def _variants(root: Path, themes: dict[str, tuple[str, ...]]) -> dict[str, Variant]:
    found: dict[str, Variant] = {}
    for path in _files(root / VARIANTS):
        if path.suffix not in ENDINGS:
            raise LiveError(f"{VARIANTS}/{path.name}: a variant's file ends in {', '.join(ENDINGS)}")
        if not NAME.fullmatch(path.stem) or path.stem in found:
            raise LiveError(f"{VARIANTS}/{path.name}: give each file a name of its own, of a-z, 0-9 and -")
        found[path.stem] = Variant(path.stem, path, _bytes(path), themes.get(path.stem, ()))
    return found


def _themes(root: Path) -> dict[str, Theme]:
    found: dict[str, Theme] = {}
    for path in _files(root / IDEAS):
        ideas = _decoded(path, _Ideas)
        for idea in ideas.idea:
            if idea.theme in found:
                raise LiveError(f"{IDEAS}/{path.name}: the theme {idea.theme} is there twice; give it another name")
            found[idea.theme] = Theme(idea.theme, ideas.category, idea.title)
    return found


def _files(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    except OSError:
        return []
    if len(found) > MAX_FILES:
        raise LiveError(f"{folder} has more than {MAX_FILES} files; take some away")
    return found


def _decoded(path: Path, into: type[T]) -> T:
    try:
        return msgspec.convert(tomllib.loads(_bytes(path).decode("utf-8-sig")), into)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LiveError(f"{path.name}: {error}") from None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise LiveError(f"cannot read {path} ({error.strerror})") from None
    if len(content) > MAX_FILE_BYTES:
        raise LiveError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB; make it smaller")
    return content


def frozen_part(settings: Settings) -> dict[str, Any]:
    """What of the settings must stay as it was from the first approval on, as data."""
    return {
        "answer": settings.answer.name,
        "guards": [[guard.name, guard.allowed] for guard in settings.guard],
        "rules": msgspec.to_builtins(settings.rules),
        "share": settings.traffic.share,
    }
