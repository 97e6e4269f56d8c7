"""Which files of the pinned packages are ranking's text? Writes objectives/ranking/sources.json.

    .venv/bin/python scripts/ranking_sources.py

They are those of nanolm's list (scripts/nanolm_sources.py, which compares them with the wheels of other platforms) that
have docstrings that are long enough, of the packages that no run needs and that no other package brings a copy of.
After it: `autoresearch-node objective check --fix objectives/ranking`.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

OBJECTIVES = Path(__file__).resolve().parent.parent / "objectives"
RANKING = OBJECTIVES / "ranking"
PACKAGES = frozenset(
    {
        "alembic",
        "anyio",
        "click",
        "dnspython",
        "GitPython",
        "libp2p",
        "Mako",
        "openai",
        "optuna",
        "pydantic",
        "SQLAlchemy",
        "trio",
    }
)


def main() -> None:
    spec = importlib.util.spec_from_file_location("ranking_prepare", RANKING / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    prepare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prepare)
    listed = json.loads((OBJECTIVES / "nanolm" / "sources.json").read_text())
    sources: dict[str, dict[str, str]] = {}
    for package, files in sorted((listed["train"] | listed["hidden"]).items()):
        if package.partition("==")[0] in PACKAGES:
            texts = dict(prepare.read({package: files}))
            sources[package] = {path: files[path] for path in files if any(prepare.docstrings_of(texts[path]))}
            print(f"{package:20} {len(sources[package]):4} of {len(files):4} files")
    (RANKING / "sources.json").write_text(json.dumps(sources, indent=0) + "\n")


if __name__ == "__main__":
    main()
