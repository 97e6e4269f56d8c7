"""Holds what a command printed with --json against the form that docs/schema promises of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from node.view.model.forms.commands import FORMS


def hold(command: str, value: Any) -> None:
    """The value has the form, and nothing besides: what is not described is lost on the way there and back."""
    form = FORMS[command]
    assert json.loads(msgspec.json.encode(msgspec.convert(value, form, strict=True))) == value
