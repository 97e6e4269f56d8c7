"""Which files of the pinned packages are nanolm's text? Writes objectives/nanolm/sources.json from what is installed.

    .venv/bin/python scripts/nanolm_sources.py [--wheels FOLDER]

Only files of a package's own folder whose bytes are the same on every machine: what a build writes is left out by name,
and with --wheels also what differs from the wheel of another platform or Python in that folder (`pip download --no-deps
--platform ... --python-version ... -d FOLDER numpy==...`), which is how that list of names was found. Numbers, hashes
and tables are left out too, as no text. After it: `autoresearch-node objective check --fix objectives/nanolm`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import zipfile
from importlib import metadata
from pathlib import Path

NANOLM = Path(__file__).resolve().parent.parent / "objectives" / "nanolm"
# By distribution: the folder of its own. What torch needs, and what no run needs but is not worth hiding.
TRAIN = {
    "anyio": "anyio",
    "click": "click",
    "filelock": "filelock",
    "fsspec": "fsspec",
    "GitPython": "git",
    "Jinja2": "jinja2",
    "mpmath": "mpmath",
    "networkx": "networkx",
    "numpy": "numpy",
    "openai": "openai",
    "packaging": "packaging",
    "Pygments": "pygments",
    "rich": "rich",
    "setuptools": "setuptools",
    "sympy": "sympy",
    "urllib3": "urllib3",
}
# None of them is copied into another package (as pip does with some), or an operating system's own Python has it.
HIDDEN = {
    "alembic": "alembic",
    "dnspython": "dns",
    "libp2p": "libp2p",
    "Mako": "mako",
    "optuna": "optuna",
    "pydantic": "pydantic",
    "SQLAlchemy": "sqlalchemy",
    "trio": "trio",
}
BUILT = ("version.py", "_version.py", "__config__.py", "_distributor_init.py")
SMALLEST, LARGEST = 1000, 400_000  # bytes
MOST_DIGITS = 0.15  # of the bytes
LONGEST_LINES = 80  # bytes, on average


def is_text(content: bytes) -> bool:
    digits = sum(map(content.count, b"0123456789"))
    return (
        SMALLEST <= len(content) <= LARGEST
        and digits < MOST_DIGITS * len(content)
        and len(content) < LONGEST_LINES * (content.count(b"\n") + 1)
        and 0 not in content
    )


def files_of(name: str, folder: str) -> dict[str, bytes]:
    """The text files of an installed package, by their path below site-packages."""
    found = {}
    for file in metadata.distribution(name).files or ():
        wanted = file.parts[0] == folder and file.suffix == ".py" and file.name not in BUILT
        if wanted and "_vendor" not in file.parts and not file.name.endswith(("_pb2.py", "_pb2_grpc.py")):
            found[file.as_posix()] = Path(str(file.locate())).read_bytes()
    return {path: content for path, content in sorted(found.items()) if is_text(content)}


def differing(files: dict[str, bytes], wheel: Path) -> set[str]:
    """Those that are not in another wheel of the package as they are here."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        return {path for path, content in files.items() if path not in names or archive.read(path) != content}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--wheels", type=Path)
    wheels = list(parsed.glob("*.whl")) if (parsed := parser.parse_args().wheels) is not None else []
    sources: dict[str, dict[str, dict[str, str]]] = {}
    for use, packages in (("train", TRAIN), ("hidden", HIDDEN)):
        sources[use] = {}
        for name, folder in packages.items():
            files = files_of(name, folder)
            version = metadata.version(name)
            for wheel in wheels:
                if wheel.name.lower().startswith(f"{name}-{version}-".lower()):
                    differ = differing(files, wheel)
                    print(f"{wheel.name}: {len(files) - len(differ)} files alike; others: {sorted(differ)}")
                    files = {path: content for path, content in files.items() if path not in differ}
            sources[use][f"{name}=={version}"] = {p: hashlib.sha256(c).hexdigest() for p, c in files.items()}
            print(f"{use:6} {name:12} {len(files):5} files {sum(map(len, files.values())) / 1e6:6.2f} MB")
    (NANOLM / "sources.json").write_text(json.dumps(sources, indent=0) + "\n")


if __name__ == "__main__":
    sys.exit(main())
