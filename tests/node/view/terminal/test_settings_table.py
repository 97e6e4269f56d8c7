"""What a person reads of settings after changing one."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from node.platform.config import Config, load_config
from node.platform.settings import change, settings
from node.view.terminal.settings_table import table


@pytest.mark.parametrize(
    ("name", "value", "before", "when"),
    [("others_cpu_percent", "50", 100, "within a second"), ("workers", "7", 3, "when it starts again")],
)
def test_a_change_that_the_node_has_not_taken_up_says_when_it_does(
    tmp_path: Path, name: str, value: str, before: int, when: str
) -> None:
    def config() -> Config:
        return load_config(None, {"home": str(tmp_path)})

    change(config(), name, value)
    printed = StringIO()
    Console(width=300, file=printed).print(table(settings(config(), {"settings": {name: before}})))
    assert f"{value} (the running node, until now by {before}, takes it up {when})" in printed.getvalue()
