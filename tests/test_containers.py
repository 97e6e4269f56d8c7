"""The container files say what the program understands. Nothing is built here."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from node.cli.main import _parser

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


def understood(words: list[str]) -> None:
    _parser().parse_args(words)


def test_three_nodes_have_homes_of_their_own(compose: dict[str, Any]) -> None:
    homes = [
        volume.partition(":")[0]
        for service in compose["services"].values()
        for volume in service["volumes"]
        if volume.endswith(":/data")
    ]
    assert sorted(homes) == sorted(compose["volumes"]) == ["first", "second", "third"]


def test_the_others_wait_for_the_invite_that_the_first_one_writes(compose: dict[str, Any]) -> None:
    check = compose["services"]["first"]["healthcheck"]["test"][1]
    invite, kept = check.split(" > ")[0], check.split()[-1]
    understood(shlex.split(invite)[1:])
    for name in ("second", "third"):
        service = compose["services"][name]
        assert service["depends_on"]["first"]["condition"] == "service_healthy"
        (command,) = service["command"]
        assert kept.replace("/data", "/first", 1) in command
        assert "first:/first:ro" in service["volumes"]
        waiting, _, join = command.partition("; exec ")
        assert waiting.startswith("until [ -s /first/invite-for-others ]")
        words = ["exec", *shlex.split(join.replace('"$$(cat /first/invite-for-others)"', "INVITE"))]
        assert words[:2] == ["exec", "autoresearch-node"]
        understood(words[2:])


def test_the_image_starts_a_node_whatever_build_it_has(compose: dict[str, Any]) -> None:
    text = (ROOT / "Dockerfile").read_text()
    (entry,) = re.findall(r"^ENTRYPOINT (.+)$", text, re.MULTILINE)
    (command,) = re.findall(r"^CMD (.+)$", text, re.MULTILINE)
    assert json.loads(entry) == ["autoresearch-node"]
    understood(json.loads(command))
    for name in re.findall(r"--build-arg (\w+)=", text):
        assert f"ARG {name}=" in text


def test_what_is_built_in_an_image_is_copied_there() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists()
            assert name not in ignored
