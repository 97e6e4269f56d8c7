"""What counts as a number that a judge may return: finite, and a number already."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from node.execution.workers.exchange import numbers


@pytest.mark.parametrize("value", [1.5, -1, 0, np.float32(1.5), np.int64(3), 1e-320], ids=repr)
def test_a_finite_number_is_taken(value: Any) -> None:
    assert numbers({"value": value}) == {"value": float(value)}


@pytest.mark.parametrize(
    "value",
    [
        *(True, False, np.bool_(True), "1", b"1", None, [1], (1.0,), np.array([1.5]), np.array(1.5), 1 + 0j, 10**400),
        *(float("nan"), float("inf"), -float("inf"), np.float32("inf")),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_could_only_be_made_a_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="no finite number"):
        numbers({"value": value})
