"""What a variant must keep to, checked before a person is asked: words, claims, colours, hosts, length, nothing active.

It reads what people would read: text in the order of the page, without tags, with entities resolved, letters that look
alike by compatibility (NFKC) folded and invisible ones taken out. It cannot see text in pictures, nor what a sentence
means.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urlsplit

from node.live.folder import Constraints, Variant

PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}")
GO = re.compile(r"go ([a-z0-9-]+)")
COLOUR_PROPERTY = re.compile(r"(?:^|-)(?:color|background|border|outline|fill|stroke|shadow|image)(?:$|-)")
NEUTRAL = re.compile(
    r"[\d.]+[a-z%]*|none|inherit|initial|unset|transparent|currentcolor|solid|dashed|dotted|double|auto|inset|hidden"
)
READ_ALOUD = ("alt", "title", "placeholder", "aria-label", "value", "content", "label", "summary")
ADDRESSES = (
    "href",
    "src",
    "srcset",
    "action",
    "formaction",
    "poster",
    "data",
    "background",
    "cite",
    "ping",
    "xlink:href",
)
ACTIVE = ("script", "iframe", "frame", "object", "embed", "applet", "base", "portal", "svg", "math", "template")
NO_SLASHES = ("javascript:", "data:", "mailto:")
BLOCKS = ("p", "div", "br", "li", "h1", "h2", "h3", "h4", "td", "th", "tr", "section", "title", "button", "option")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a variant, in which line of its file (0: in none), and what to do."""

    line: int
    says: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.says}" if self.line else self.says


def faults(variant: Variant, constraints: Constraints, answers: frozenset[str]) -> list[Fault]:
    """Everything for which a variant is refused. answers: names that `{{go NAME}}` may lead to."""
    try:
        text = variant.content.decode("utf-8")
    except UnicodeDecodeError as error:
        return [Fault(variant.content[: error.start].count(b"\n") + 1, "this is not UTF-8; save the file as UTF-8")]
    page = _Page()
    if variant.path.suffix == ".html":
        page.feed(text)
        page.close()
    else:
        for number, line in enumerate(text.split("\n"), 1):
            page.add(line + "\n", number)
    found = [
        *page.faults,
        *_placeholders(text, answers),
        *_words(page, constraints),
        *_colours(page, constraints),
        *_hosts(page, text, constraints, variant.path.suffix == ".html"),
    ]
    if len(text) > constraints.longest:
        found.append(Fault(0, f"it has {len(text)} characters, and {constraints.longest} are allowed; shorten it"))
    return sorted(set(found), key=lambda fault: (fault.line, fault.says))


class _Page(HTMLParser):
    """The page as people read it, and what in it is not text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[Fault] = []
        self.letters: list[str] = []  # normalised text, one letter an entry
        self.lines: list[int] = []  # the line of each
        self.addresses: list[tuple[int, str]] = []
        self.styles: list[tuple[int, str]] = []
        self._in_style = False

    def add(self, text: str, line: int) -> None:
        for letter in text:
            for folded in unicodedata.normalize("NFKC", letter).casefold():
                if unicodedata.category(folded) not in ("Cf", "Mn", "Cc") or folded.isspace():
                    self.letters.append(" " if folded.isspace() else folded)
                    self.lines.append(line)
            line += letter == "\n"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        line = self.getpos()[0]
        self._in_style = tag == "style"
        if tag in BLOCKS:
            self.add(" ", line)
        if tag in ACTIVE:
            self.faults.append(Fault(line, f"<{tag}> is not allowed: a variant is text and style; take it out"))
        if tag == "meta" and any(name == "http-equiv" for name, _ in attributes):
            self.faults.append(Fault(line, "<meta http-equiv> is not allowed; take it out"))
        for name, value in attributes:
            self._attribute(tag, name, value or "", line)

    def _attribute(self, tag: str, name: str, value: str, line: int) -> None:
        if name.startswith("on"):
            self.faults.append(Fault(line, f"{name}= would run a script; take it out"))
        elif name == "style":
            self.styles.append((line, value))
        elif name in ("bgcolor", "color"):
            self.styles.append((line, f"color: {value}"))
        elif name in ADDRESSES and not (tag == "meta" and name == "content"):
            parts = [part.split()[0] for part in value.split(",") if part.strip()] if name == "srcset" else [value]
            self.addresses += [(line, part.strip()) for part in parts]
        elif name in READ_ALOUD:
            self.add(f" {value} ", line)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False
        if tag in BLOCKS:
            self.add(" ", self.getpos()[0])

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.styles.append((self.getpos()[0], data))
        else:
            self.add(data, self.getpos()[0])


def _placeholders(text: str, answers: frozenset[str]) -> Iterator[Fault]:
    for found in PLACEHOLDER.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        go = GO.fullmatch(found[1])
        if found[1] != "token" and (go is None or go[1] not in answers):
            known = ", ".join(["{{token}}", *(f"{{{{go {name}}}}}" for name in sorted(answers))])
            yield Fault(line, f"{found[0]:.60} is no placeholder; there are {known}")


def _words(page: _Page, constraints: Constraints) -> Iterator[Fault]:
    text = "".join(page.letters)
    for wanted in constraints.must_have:
        if not _places(text, wanted):
            yield Fault(0, f"the text has to say {wanted!r}; add it")
    unwanted = [(words, "these words may not appear") for words in constraints.must_not_have]
    unwanted += [(claim.words, f"this claim may not be made: {claim.why}") for claim in constraints.claims]
    for words, why in unwanted:
        for place in _places(text, words):
            yield Fault(page.lines[place], f"{words!r}: {why}; write it in another way")


def _places(text: str, words: str) -> list[int]:
    """Where words begin in a normalised text, by whatever space they are parted. `*` stands for an end of a word."""
    folded = unicodedata.normalize("NFKC", words).casefold().split()
    pattern = r"\s+".join(re.escape(word).replace(r"\*", r"\w*") for word in folded)
    return [found.start() for found in re.finditer(rf"(?<!\w){pattern}(?!\w)", text)] if folded else []


def _colours(page: _Page, constraints: Constraints) -> Iterator[Fault]:
    for first, style in page.styles:
        without_comments = re.sub(r"/\*.*?\*/", lambda found: "\n" * found[0].count("\n"), style, flags=re.DOTALL)
        for found in re.finditer(r"([\w-]+)\s*:\s*([^;{}]+)", without_comments):
            line = first + without_comments.count("\n", 0, found.start())
            name, value = found[1].lower(), found[2].strip().lower()
            if "url(" in value or "\\" in value or name == "content":
                yield Fault(line, f"{name}: a style may load nothing and write no text; take it out")
            elif constraints.colours and COLOUR_PROPERTY.search(name):
                for part in re.split(r"[\s,]+", value.removesuffix("!important").strip()):
                    if part not in constraints.colours and not NEUTRAL.fullmatch(part):
                        allowed = " ".join(constraints.colours)
                        yield Fault(line, f"{name}: {part:.40} is none of the colours {allowed}; write one of them")
        if "@import" in style.lower():
            yield Fault(first, "@import would load from elsewhere; take it out")


def _hosts(page: _Page, text: str, constraints: Constraints, html: bool) -> Iterator[Fault]:
    found = list(page.addresses)
    if not html:
        for link in re.finditer(r"\b[a-z][a-z+.-]*:[^\s)>\]]+|(?<!\w)//[^\s)>\]]+", text, re.IGNORECASE):
            line = text.count("\n", 0, link.start()) + 1
            found += [(line, link[0])] if "/" in link[0] or link[0].lower().startswith(NO_SLASHES) else []
    for line, address in found:
        bare = PLACEHOLDER.sub("", re.sub(r"[\s\x00-\x1f]", "", address)).replace("\\", "/")
        if not bare or bare.startswith(("#", "data:image/")):
            continue
        try:
            parts = urlsplit(bare)
        except ValueError:
            yield Fault(line, f"{address:.60} is no address; write a whole one, with https://")
            continue
        if parts.scheme not in ("http", "https") or (parts.hostname or "") not in constraints.hosts:
            allowed = ", ".join(constraints.hosts) or "none"
            yield Fault(
                line, f"{address:.60} leads elsewhere (allowed: {allowed}); use {{{{go NAME}}}} or one of these"
            )
