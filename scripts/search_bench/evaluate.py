"""Sources on seeds that no search has seen, scored on validation and on holdout text.

    evaluate.py OBJECTIVE_FOLDER SOURCES.json SEED... RESULT.json

SOURCES is {id: text}, RESULT {id: [{"value", "holdout", "cpu_seconds"}, one for each seed]}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.objective.load import load_objective
from search_bench import forked_run


def main() -> None:
    folder, sources, *seeds, result = sys.argv[1:]
    objective = load_objective(Path(folder), Path(folder) / "data")
    forked_run.prepare()
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in map(int, seeds):  # all sources at one seed, then at the next: the texts are drawn once
        for source, text in json.loads(Path(sources).read_text()).items():
            run = forked_run.run(objective, text, seed, ("val", "holdout"))
            value, holdout = run.values if run is not None else (None, None)
            seconds = run.cpu_seconds if run is not None else 0.0
            found.setdefault(source, []).append({"value": value, "holdout": holdout, "cpu_seconds": seconds})
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
