"""In which languages documents are: for the report, by py3langid, from a sample of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from node.authoring.corpus.folder import Document

SAMPLE = 2000  # documents
CHARACTERS = 1000  # of a document, from its middle
LEAST_CHARACTERS = 150
SHORT = "too short to tell"


def languages_of(documents: Sequence[Document]) -> dict[str, float]:
    """The share of the text in each language, by its ISO 639-1 code; empty where py3langid is not installed."""
    try:
        import py3langid
    except ImportError:
        return {}
    sample = random.Random(0).sample(documents, min(SAMPLE, len(documents)))
    shares: Counter[str] = Counter()
    for document in sample:
        text = document.text.decode("utf-8", "ignore")
        middle = text[max(0, len(text) // 2 - CHARACTERS // 2) :][:CHARACTERS]
        code = py3langid.classify(middle)[0] if len(middle) >= LEAST_CHARACTERS else SHORT
        shares[code] += len(document.text)
    return {code: size / max(1, shares.total()) for code, size in shares.most_common()}
