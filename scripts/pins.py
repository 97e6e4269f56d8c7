#!/usr/bin/env python3
"""Writes the lists of hashes that the set-up installs by, and asks whether a pinned package has a known weakness.

    .venv/bin/python scripts/pins.py lists          writes scripts/pinned/*.txt anew; needs a network, and uv
    .venv/bin/python scripts/pins.py torch INDEX    writes scripts/pinned/torch_cpu.txt anew, from the page that an
                                                    index of builds for processors has for torch
    .venv/bin/python scripts/pins.py advisories     asks the databases of advisories about every pin; the same needs

Versions are decided by hand, in pyproject.toml and constraints.txt. uv works out what belongs to them on every Python
and machine that a node runs on; each list has all files of a release that Linux can use, since a mirror or another
machine takes another file. The index is the one that pip is configured for (PIP_INDEX_URL, pip.conf). `advisories` ends
with 0 where all were checked and none is known, 1 where one is, 2 where some could not be asked about.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.parse
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parents[1]
PINNED = ROOT / "scripts" / "pinned"
TORCH_CPU = PINNED / "torch_cpu.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
ARCHITECTURES = ("x86_64", "aarch64")
PIP_AUDIT = "pip-audit==2.10.1"
DATABASES = ("pypi", "osv")  # as pip-audit calls them; the second is asked where the first does not answer for all
ABOUT = {
    "build": "What builds packages, installed before anything else.",
    "compiled": "What has no wheel and is built here.",
    "node": "What a node needs beside those.",
    "torch": "torch, in the usual builds and in those for processors only.",
    "test": "What the tests need beside those.",
    "accelerator": "What torch needs where it is a build for GPUs. Not installed for other builds.",
}


class PinsError(Exception):
    """The lists cannot be made, or nobody could be asked; the text says what to do."""


@dataclass(frozen=True)
class Package:
    """One pinned package: its name in normal form, its version, where it is wanted, and the sha256 of its files."""

    name: str
    version: str
    marker: str  # of what follows a semicolon in a requirement; "" for everywhere
    hashes: tuple[str, ...]
    wheel: bool  # whether the release has one for Linux

    def lines(self) -> str:
        wanted = f" ; {self.marker}" if self.marker else ""
        return " \\\n".join(
            [f"{self.name}=={self.version}{wanted}", *(f"    --hash=sha256:{digest}" for digest in self.hashes)]
        )


def environments() -> list[dict[str, str]]:
    """Where a node may run, as markers see it."""
    return [
        {
            "implementation_name": "cpython", "os_name": "posix", "platform_machine": machine,
            "platform_python_implementation": "CPython", "platform_system": "Linux", "sys_platform": "linux",
            "python_version": python, "python_full_version": f"{python}.0",
        }
        for machine in ARCHITECTURES for python in PYTHONS
    ]  # fmt: skip


def linux_marker(marker: str) -> str | None:
    """The marker as far as it decides anything among the places where a node may run: "" for all, None for none."""
    if not marker:
        return ""
    holds = {Marker(marker).evaluate(place) for place in environments()}
    return None if holds == {False} else "" if holds == {True} else marker


def fits_linux(wheel: str) -> bool:
    """Whether a wheel of this name can be used by CPython 3.11 or newer on Linux, x86-64 or ARM64."""
    for tag in parse_wheel_filename(wheel)[3]:
        machine = tag.platform == "any" or ("linux" in tag.platform and tag.platform.endswith(ARCHITECTURES))
        version = re.fullmatch(r"cp3(\d+)", tag.interpreter)
        python = tag.interpreter.startswith("py3") or (
            version is not None and (int(version[1]) >= 11 or tag.abi == "abi3")
        )
        if machine and python:
            return True
    return False


def read_lock(lock: dict[str, Any]) -> dict[str, Package]:
    """The packages of a lock file (pylock.toml, PEP 751) that a node could need, by name."""
    found = {}
    for entry in lock["packages"]:
        marker = linux_marker(entry.get("marker", ""))
        if marker is None:
            continue
        wheels = {name_of(wheel): wheel["hashes"]["sha256"] for wheel in entry.get("wheels", [])}
        usable = [digest for name, digest in sorted(wheels.items()) if fits_linux(name)]
        hashes = [*usable, entry["sdist"]["hashes"]["sha256"]] if "sdist" in entry else usable
        if not hashes:
            raise PinsError(f"{entry['name']} {entry['version']} has no file that Linux can use")
        found[entry["name"]] = Package(entry["name"], entry["version"], marker, tuple(hashes), bool(usable))
    return found


def name_of(file: dict[str, Any]) -> str:
    return str(file.get("name") or urllib.parse.unquote(file["url"].rsplit("/", 1)[1]))


def sorted_out(node: dict[str, Package], everything: dict[str, Package], constraints: str) -> dict[str, list[Package]]:
    """Which package stands in which list.

    What torch needs for GPUs is what constraints.txt does not name: it was written where torch had no such needs.
    """
    pinned = {canonicalize_name(line.split("==")[0]) for line in constraints.splitlines() if "==" in line}
    lists: dict[str, list[Package]] = {name: [] for name in ABOUT}
    for package in everything.values():
        if package.name == "setuptools":
            lists["build"].append(package)
        elif package.name == "torch":
            lists["torch"].append(package)
        elif package.name not in pinned:
            lists["accelerator"].append(package)
        elif package.name not in node:
            lists["test"].append(package)
        else:
            lists["node" if package.wheel else "compiled"].append(package)
    return lists


def with_cpu_builds(torch: Package, listed: str) -> Package:
    """torch with the hashes of its builds for processors, which another index than the usual one has."""
    extra = []
    for line in listed.splitlines():
        digest, _, file = line.partition("  ")
        if file.startswith(f"torch-{torch.version}+cpu-"):
            extra.append(digest)
    if not extra:
        raise PinsError(f"{TORCH_CPU.name} has no builds of torch {torch.version}: `pins.py torch INDEX` gets them")
    return Package(torch.name, torch.version, torch.marker, (*torch.hashes, *extra), torch.wheel)


def text_of(name: str, packages: Iterable[Package]) -> str:
    body = "\n".join(package.lines() for package in sorted(packages, key=lambda package: package.name))
    return f"# {ABOUT[name]} Made by scripts/pins.py; not to be edited.\n{body}\n"


@cache
def environment() -> dict[str, str]:
    """This program's environment, with pip's settings where uv looks for them."""
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    index = os.environ.get("PIP_INDEX_URL") or subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    certificates = os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT")
    settings = {"UV_DEFAULT_INDEX": index, "SSL_CERT_FILE": certificates}
    return {**os.environ, **{name: value for name, value in settings.items() if value}}


def run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words, capture_output=True, text=True, check=False, env={**environment(), "PATH": os.environ["PATH"]}
        )
    except FileNotFoundError:
        raise PinsError(f"{words[0]} is not here: `pip install {words[0]}`, or as its own page says") from None


def lock_of(extras: Sequence[str]) -> dict[str, Package]:
    with tempfile.TemporaryDirectory() as folder:
        out, more = Path(folder) / "pylock.toml", Path(folder) / "more.txt"
        build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
        more.write_text("\n".join(build) + "\n")
        done = run(
            [
                "uv", "pip", "compile", "--quiet", "--no-config", "--universal", "--format", "pylock.toml",
                "--python-version", PYTHONS[0], "--constraints", str(ROOT / "constraints.txt"), "--output-file",
                str(out), *(f"--extra={extra}" for extra in extras), str(ROOT / "pyproject.toml"), str(more),
            ]
        )  # fmt: skip
        if done.returncode:
            raise PinsError(f"uv could not work out the packages:\n{done.stderr.strip()}")
        return read_lock(tomllib.loads(out.read_text()))


def write_lists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    node, everything = lock_of([]), lock_of(sorted(extras))
    everything["torch"] = with_cpu_builds(everything["torch"], TORCH_CPU.read_text())
    for name, packages in sorted_out(node, everything, (ROOT / "constraints.txt").read_text()).items():
        (PINNED / f"{name}.txt").write_text(text_of(name, packages))
        print(f"{name}.txt: {len(packages)} packages, {sum(len(package.hashes) for package in packages)} files")


def cpu_builds(page: str, version: str) -> list[str]:
    """Lines "sha256  file" of an index's page about torch (PEP 503), for builds for processors that Linux can use."""
    found = {}
    for link in re.findall(r'href="([^"]+)#sha256=([0-9a-f]{64})"', page):
        file = urllib.parse.unquote(link[0].rsplit("/", 1)[-1])
        if file.startswith(f"torch-{version}+cpu-") and file.endswith(".whl") and fits_linux(file):
            found[file] = link[1]
    return [f"{digest}  {file}" for file, digest in sorted(found.items())]


def write_torch(index: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (version,) = [need.split("==")[1] for need in project["dependencies"] if need.startswith("torch==")]
    with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=60) as answer:
        found = cpu_builds(answer.read(1 << 26).decode(), version)
    if not found:
        raise PinsError(f"that index has no builds of torch {version} for processors")
    head = [line for line in TORCH_CPU.read_text().splitlines() if line.startswith("#")]
    TORCH_CPU.write_text("\n".join([*head, *found]) + "\n")
    print(f"{TORCH_CPU.name}: {len(found)} files; now `pins.py lists`")


def advisories() -> int:
    """Asks about every pin, says what came of it, and returns the exit status."""
    left = [line for name in ABOUT for line in requirements(PINNED / f"{name}.txt")]
    asked, weak, why = len(left), [], ""
    for database in DATABASES:
        if left:
            known, left, why = ask(database, left)
            weak += known
    for line in weak:
        print(line)
    print(f"{asked} pins: {asked - len(left)} checked, {len(weak)} known advisories")
    if left:
        names = "all" if len(left) == asked else ", ".join(line.split("==")[0] for line in left)
        print(f"not checked, as no database answered for them ({why}): {names}")
    return 1 if weak else 2 if left else 0


def requirements(path: Path) -> list[str]:
    """The pins of a list, as name==version."""
    return [line.split()[0] for line in path.read_text().splitlines() if re.match(r"[a-z0-9]", line)]


def ask(database: str, pins: Sequence[str]) -> tuple[list[str], list[str], str]:
    """Of some pins: the advisories known, one line each, those that the database did not answer for, and why."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "pins.txt"
        listed.write_text("\n".join(pins) + "\n")
        done = run(
            [
                "uv", "tool", "run", "--quiet", PIP_AUDIT, "--disable-pip", "--no-deps", "--progress-spinner", "off",
                "--format", "json", "--vulnerability-service", database, "--requirement", str(listed),
            ]
        )  # fmt: skip
    try:
        answers = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        return [], list(pins), (done.stderr.strip().splitlines() or ["no answer"])[-1][:200]
    weak = [
        f"{answer['name']} {answer['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
        for answer in answers for found in answer.get("vulns", ())
    ]  # fmt: skip
    checked = {canonicalize_name(answer["name"]) for answer in answers if "skip_reason" not in answer}
    skipped = [answer["skip_reason"] for answer in answers if "skip_reason" in answer]
    return weak, [pin for pin in pins if pin.split("==")[0] not in checked], (skipped or [""])[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("lists")
    commands.add_parser("torch").add_argument("index", help="its address, up to what stands before /torch/")
    commands.add_parser("advisories")
    options = parser.parse_args()
    try:
        if options.command == "advisories":
            return advisories()
        write_lists() if options.command == "lists" else write_torch(options.index)
    except (PinsError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
