"""The form of what the `live` commands print: variants of a live test, what people answered, and the map of themes."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from node.view.model.forms.figures import Hex


class Guard(msgspec.Struct, frozen=True):
    """Something that must not get worse: counts of the variant and of the control. high: null where nothing bounds."""

    name: str
    ours: int
    theirs: int
    harmed: bool
    ratio: float
    low: float
    high: float | None


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A variant. Figures are there once it ran beside a control; high: null where nothing bounds the ratio."""

    name: str
    sha256: Hex
    approved: bool
    state: str
    why: str
    approved_by: str | None
    faults: list[str]
    themes: list[str]
    found: list[str]
    visitors: int | UnsetType = UNSET
    answers: int | UnsetType = UNSET
    control_visitors: int | UnsetType = UNSET
    control_answers: int | UnsetType = UNSET
    ratio: float | UnsetType = UNSET
    low: float | UnsetType = UNSET
    high: float | UnsetType | None = UNSET
    evidence: float | UnsetType = UNSET
    evidence_needed: float | UnsetType = UNSET
    enough: bool | UnsetType = UNSET
    split_broken: bool | UnsetType = UNSET
    lost: float | UnsetType = UNSET
    guards: list[Guard] | UnsetType = UNSET


class VariantShown(Variant, frozen=True, kw_only=True):
    """`live show FOLDER VARIANT --json`"""

    text: str


class Stopped(msgspec.Struct, frozen=True):
    """A variant that nobody sees any more. time: seconds since 1970."""

    variant: str
    sha256: Hex
    reason: str
    detail: str
    time: float


class LiveStatus(msgspec.Struct, frozen=True):
    """`live status FOLDER --json`. dropped: visits and answers that do not count, by reason."""

    folder: str
    name: str
    measured: str
    answer: str
    level: float
    most_variants: int
    approved_so_far: int
    variants: list[Variant]
    stopped: list[Stopped]
    dropped: dict[str, int]
    share_themes: bool


class Approved(msgspec.Struct, frozen=True):
    """`live approve FOLDER VARIANT --json`"""

    approved: str
    sha256: Hex
    arm: int


class Withdrawn(msgspec.Struct, frozen=True):
    """`live withdraw FOLDER VARIANT --json`"""

    withdrawn: str


class Assigned(msgspec.Struct, frozen=True):
    """A row of `live assign FOLDER FILE.csv --json`"""

    recipient: str
    variant: str
    first_line: str


class MailingImported(msgspec.Struct, frozen=True):
    """`live import FOLDER FILE.csv --json`. dropped: rows by reason."""

    rows: int
    recipients: int
    dropped: dict[str, int]


class ThemeTried(msgspec.Struct, frozen=True, kw_only=True):
    """What a theme's variants were answered beside the control. The first four are for the audience's owner alone."""

    title: str | UnsetType = UNSET
    variants: list[str] | UnsetType = UNSET
    answers: int | UnsetType = UNSET
    control_answers: int | UnsetType = UNSET
    theme: str
    category: str
    visitors: int
    control_visitors: int
    never_without: list[str]
    ratio: float
    low: float
    high: float | None


class ThemeUntried(msgspec.Struct, frozen=True):
    theme: str
    category: str
    title: str | UnsetType = UNSET


class LiveMap(msgspec.Struct, frozen=True, kw_only=True):
    """`live export FOLDER --json`; with --for-peers without name, answer, titles and variants."""

    name: str | UnsetType = UNSET
    answer: str | UnsetType = UNSET
    measured: str
    level: float
    tried: list[ThemeTried]
    untried: list[ThemeUntried]
