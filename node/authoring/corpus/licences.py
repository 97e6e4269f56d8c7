"""Which licence a text names: for the report to whoever made the corpus, and for nothing else.

By its SPDX tag, by the address of a Creative Commons licence, or by words that licences are known by. A text that names
a licence need not be under it, and most name none; so this is where to look, and no legal finding.
"""

from __future__ import annotations

import re

# The name of the licence, and words that only a text under it has, as a rule. More telling ones first.
_KNOWN = (
    ("AGPL", r"GNU Affero General Public License"),
    ("LGPL", r"GNU (?:Lesser|Library) General Public License"),
    ("GFDL", r"GNU Free Documentation License"),
    ("GPL", r"GNU General Public Licen[cs]e"),
    ("Apache-2.0", r"Apache License,? Version 2\.0|apache\.org/licenses/LICENSE-2\.0"),
    ("MPL-2.0", r"Mozilla Public License,? (?:v\.? ?|version )2\.0"),
    ("MIT", r"Permission is hereby granted, free of charge|MIT License"),
    ("BSD", r"Redistribution and use in source and binary forms"),
    ("ISC", r"Permission to use, copy, modify, and(?:/or)? distribute this software"),
    ("public domain", r"(?:placed|released|dedicated) (?:in|into|to) the public domain"),
    ("all rights reserved", r"All rights reserved"),
)
_WORDS = re.compile("|".join(f"(?P<l{number}>{words})" for number, (_, words) in enumerate(_KNOWN)), re.IGNORECASE)
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([A-Za-z0-9.+-]{2,40})")
_COMMONS = re.compile(r"creativecommons\.org/(?:licenses/([a-z-]{2,12})/(\d\.\d)|(publicdomain/zero))", re.IGNORECASE)
_FIELD = re.compile(r"(?m)^License:[ \t]*([A-Za-z0-9.+-]{2,40})")  # of Debian's copyright files (DEP 5)
_LOOKED_AT = 20_000  # characters at the beginning, and a quarter of it at the end
_FILES = re.compile(r"(?:licen[cs]e|copying|copyright|unlicense)(?:[.-].*)?", re.IGNORECASE)


def licence_in(text: str, short: bool = False) -> str:
    """The licence that a text names; "" where it names none. short: the text is nothing but a licence's name."""
    if len(text) > _LOOKED_AT:
        text = f"{text[:_LOOKED_AT]}\n{text[-_LOOKED_AT // 4 :]}"
    if found := _SPDX.search(text) or _FIELD.search(text):
        return found[1]
    if found := _COMMONS.search(text):
        return "CC0-1.0" if found[3] else f"CC-{found[1].upper()}-{found[2]}"
    named = [int(str(found.lastgroup)[1:]) for found in _WORDS.finditer(" ".join(text.split()))]
    if named:
        return _KNOWN[min(named)][0]
    return text.strip()[:40] if short else ""


def is_licence_file(name: str) -> bool:
    """Whether a file of this name says what the files beside it are licensed under."""
    return _FILES.fullmatch(name) is not None
