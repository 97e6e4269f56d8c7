"""Figures that the form of many commands has: ids, effects, and what is measured."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Hex = Annotated[str, Meta(pattern="^[0-9a-f]*$", description="an id in hexadecimal")]
Peer = Annotated[str, Meta(description="a peer id")]
Standing = Literal["open", "confirmed", "refuted"]
Conclusion = Annotated[
    Literal["claimed", "kept", "dropped", "not proven yet", "cut", "failed"],
    Meta(description="what its author's search made of an experiment; kept: as a bet, of which nothing is claimed"),
]


class Part(msgspec.Struct, frozen=True):
    """The part of an effect that the metric or the cost has. mean: of J, negative is better. gain: positive is."""

    mean: float
    gain: float
    gain_percent: float | UnsetType = UNSET
    ratio: float | UnsetType = UNSET
    measure: str | UnsetType = UNSET


class Effect(msgspec.Struct, frozen=True):
    """An effect: `mean` is J, negative is better; `gain` is what people are shown, positive is better."""

    mean: float
    se: Annotated[float, Meta(description="standard error of mean")]
    pairs: int
    gain: float
    gain_se: float
    gain_unit: Annotated[str, Meta(description='"%", or "" for units of the metric')]
    text: str
    gain_percent: float | UnsetType = UNSET
    gain_se_percent: float | UnsetType = UNSET
    metric: Part | UnsetType = UNSET
    cost: Part | UnsetType = UNSET
    parts_text: str | UnsetType = UNSET


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured, and by whom."""

    name: str
    metric: str
    unit: str
    direction: Literal["lower", "higher"]
    scale: Literal["log", "linear"]
    gain_unit: str
    measured: Annotated[str, Meta(description='"judged" or "self-measured"')]
