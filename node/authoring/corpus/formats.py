"""What is in one file: its documents as text, with the date and the licence that they say themselves.

Text in any encoding, Markdown, HTML, PDF, parquet, and each of these in gzip. It runs in a process of its own
(reading_process.py), since a broken PDF may take for ever and a small archive may hold a great deal. It knows nothing
of folders and of what becomes of the documents.

The libraries of the optional extra `corpus` are imported where a file needs them, so plain text needs none.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from node.authoring.corpus.licences import licence_in
from node.platform.program import installing

MOST_FILE_BYTES = 64 << 20  # read of a file, and unpacked of an archive
MOST_TEXT_BYTES = 256 << 20  # taken of one file: a parquet file is read a batch at a time, until so much is there
MOST_PAGES = 5000
BATCH_ROWS = 256
LEAST_BYTES = 200  # a shorter text is no document
GUESSED_FROM = 1 << 18  # bytes from which an encoding is guessed
LONG_WORD = 100  # characters without a space: keys, pictures in base64, minified programs
MOST_IN_LONG_WORDS = 0.2  # of the characters
# Files of characters that are no text for people: data, drawings, and what programs write for programs.
DATA = frozenset({".json", ".jsonl", ".xml", ".svg", ".ps", ".eps", ".css", ".csv", ".tsv", ".map", ".lock", ".log"})
PARQUET_TEXT = ("text", "content", "body", "document")
PARQUET_DATE = ("date", "created", "timestamp", "published", "added")
PARQUET_LICENCE = ("license", "licence")

_FRONT_MATTER = re.compile(r"\A---\n(.{0,8000}?)\n---\n", re.DOTALL)
_FIELD = r"(?im)^{name}\s*:\s*[\"']?(.{{1,80}}?)[\"']?\s*$"
_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
# Of the C0 controls a text has tabs, line ends, form feeds and an editor's backspaces and escapes, and few of those.
_CONTROLS = dict.fromkeys(
    (
        *range(0x08),
        0x0B,
        *range(0x0E, 0x1B),
        *range(0x1C, 0x20),
        *range(0x7F, 0x85),
        *range(0x86, 0xA0),
        0xFFFD,
        *range(0xD800, 0xE000),
    )
)
_MOST_CONTROLS = 0.001
_BLOCKS = "p,div,br,li,ul,ol,dl,dt,dd,tr,table,h1,h2,h3,h4,h5,h6,pre,blockquote,section,article,header,hr,figcaption"
_NO_TEXT = ["script", "style", "noscript", "template", "svg", "nav", "form", "iframe"]
_DATES_IN_HTML = (
    ('meta[property="article:published_time"]', "content"),
    ('meta[name="date"]', "content"),
    ('meta[name="dcterms.date"]', "content"),
    ('meta[name="DC.date"]', "content"),
    ("time[datetime]", "datetime"),
)


class UnreadableError(Exception):
    """There is no text in it that can be used; the message says why, without naming the file."""


class Found(msgspec.Struct, frozen=True):
    """One document. date: when it says that it was written, in seconds since 1970; licence: "" where it names none."""

    text: str
    date: float | None = None
    licence: str = ""


def documents_in(path: Path) -> list[Found]:
    """The documents of a file. Raises UnreadableError and OSError, and whatever a library raises on a broken file."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        return list(_within_limit(_of_parquet(path)))
    if (suffix := Path(name.removesuffix(".gz")).suffix) in DATA:
        raise UnreadableError(f"data and no text, by its name ({suffix})")
    with path.open("rb") as file:
        data = file.read(MOST_FILE_BYTES + 1)
    if len(data) > MOST_FILE_BYTES:
        raise UnreadableError(f"larger than {MOST_FILE_BYTES >> 20} MiB")
    if name.endswith(".gz") or data.startswith(b"\x1f\x8b"):
        name, data = name.removesuffix(".gz"), _unpacked(data)
    if data.startswith(b"%PDF-") or name.endswith(".pdf"):
        found = _of_pdf(data)
    elif name.endswith((".html", ".htm", ".xhtml")):
        found = _of_html(decoded(data))
    else:
        found = _of_text(decoded(data))
    refuse_unusable(found.text)
    return [found]


def refuse_unusable(text: str) -> None:
    """Raise UnreadableError for what is too little to be a document, or is no prose or program but data."""
    if len(text.encode("utf-8", "ignore")) < LEAST_BYTES:
        raise UnreadableError(f"less than {LEAST_BYTES} bytes of text")
    long = sum(len(word) for word in text.split() if len(word) >= LONG_WORD and len(set(word)) > 8)
    if long > MOST_IN_LONG_WORDS * len(text):
        raise UnreadableError("more data than text: most of it is in words without end")


def decoded(data: bytes) -> str:
    """Bytes as text, in the encoding that they say or that fits. Raises UnreadableError for what is no text."""
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return _plain(data.decode(encoding, "replace"))
    if b"\0" in data[:GUESSED_FROM]:
        raise UnreadableError("no text: it has zero bytes")
    try:
        return _plain(data.decode("utf-8"))
    except UnicodeDecodeError:
        return _plain(data.decode(_guessed(data[:GUESSED_FROM]), "replace"))


def _guessed(data: bytes) -> str:
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        raise UnreadableError(f"no UTF-8, and charset-normalizer is not installed: {installing('corpus')}") from None
    best = from_bytes(data).best()
    if best is None:
        raise UnreadableError("no text in any known encoding")
    return best.encoding


def _plain(text: str) -> str:
    """One form of line ends, no spaces at theirs. Raises UnreadableError where too many characters are no text's."""
    kept = text.translate(_CONTROLS)
    if len(text) - len(kept) > _MOST_CONTROLS * len(text):
        raise UnreadableError("no text: too many control characters")
    text = kept.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.split("\n"))).strip()


def _unpacked(data: bytes) -> bytes:
    try:
        with gzip.open(BytesIO(data)) as file:
            unpacked = file.read(MOST_FILE_BYTES + 1)
    except (OSError, EOFError, zlib.error):
        raise UnreadableError("a broken gzip archive") from None
    if len(unpacked) > MOST_FILE_BYTES:
        raise UnreadableError(f"larger than {MOST_FILE_BYTES >> 20} MiB when unpacked")
    return unpacked


def _of_text(text: str) -> Found:
    """Plain text and Markdown, whose front matter says when it was written."""
    head = _FRONT_MATTER.match(text)
    if head is None:
        return Found(text, None, licence_in(text))
    date = re.search(_FIELD.format(name="(?:date|created|published)"), head[1])
    licence = re.search(_FIELD.format(name="licen[cs]e"), head[1])
    body = text[head.end() :].strip()
    said = licence_in(licence[1], short=True) if licence else licence_in(body)
    return Found(body, _day(date[1]) if date else None, said)


def _of_html(text: str) -> Found:
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError:
        raise UnreadableError(f"HTML, and selectolax is not installed: {installing('corpus')}") from None
    tree = LexborHTMLParser(text)
    dates = [node.attributes.get(key) for what, key in _DATES_IN_HTML if (node := tree.css_first(what)) is not None]
    link = tree.css_first('link[rel="license"],a[rel="license"]')
    licence = licence_in(link.attributes.get("href") or "", short=True) if link is not None else ""
    if tree.body is None:
        raise UnreadableError("HTML without a body")
    tree.strip_tags(_NO_TEXT)
    for node in tree.css(_BLOCKS):
        node.insert_before("\n")
        node.insert_after("\n")
    body = _plain(tree.body.text(separator="")) if tree.body is not None else ""
    return Found(body, next((day for date in dates if (day := _day(date or ""))), None), licence or licence_in(body))


def _of_pdf(data: bytes) -> Found:
    try:
        import pypdf
        from pypdf.errors import PyPdfError
    except ImportError:
        raise UnreadableError(f"a PDF, and pypdf is not installed: {installing('corpus')}") from None
    try:
        reader = pypdf.PdfReader(BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableError("a PDF with a password")
        if len(reader.pages) > MOST_PAGES:
            raise UnreadableError(f"a PDF of more than {MOST_PAGES} pages")
        pages = [page.extract_text() for page in reader.pages]
        written = reader.metadata.creation_date if reader.metadata is not None else None
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise UnreadableError(f"a broken PDF ({type(error).__name__})") from None
    text = _plain("\n\n".join(pages))
    if len(text) < LEAST_BYTES:
        raise UnreadableError("a PDF without text; it may be scanned pictures")
    return Found(text, written.timestamp() if written else None, licence_in(text))


def _of_parquet(path: Path) -> Iterator[Found]:
    """A document for each row: of the column "text" or its like, or of the only column of texts."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UnreadableError(f"a parquet file, and pyarrow is not installed: {installing('corpus')}") from None
    try:
        with parquet.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
            schema = file.schema_arrow
            texts = [field.name for field in schema if field.type in (pyarrow.string(), pyarrow.large_string())]
            named = [name for name in PARQUET_TEXT if name in texts] or texts
            if not named or (named is texts and len(texts) > 1):
                raise UnreadableError('a parquet file without a column "text"')
            date, licence = (
                next((name for name in names if name in schema.names), None)
                for names in (PARQUET_DATE, PARQUET_LICENCE)
            )
            columns = [name for name in (named[0], date, licence) if name is not None]
            for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                yield from _of_rows(batch.to_pylist(), named[0], date, licence)
    except (pyarrow.ArrowException, OSError) as error:
        raise UnreadableError(f"a broken parquet file ({type(error).__name__})") from None


def _of_rows(rows: list[dict[str, Any]], text: str, date: str | None, licence: str | None) -> Iterator[Found]:
    for row in rows:
        try:
            plain = _plain(row[text] or "")
            refuse_unusable(plain)
        except UnreadableError:
            continue
        said = str(row[licence] or "") if licence else ""
        when = row[date] if date else None
        yield Found(
            plain,
            when.timestamp() if isinstance(when, datetime) else _day(str(when)) if when is not None else None,
            licence_in(said, short=True) if said else licence_in(plain),
        )


def _within_limit(found: Iterator[Found]) -> Iterator[Found]:
    size = 0
    for one in found:
        size += len(one.text.encode())
        if size > MOST_TEXT_BYTES:
            return
        yield one


def _day(text: str) -> float | None:
    """The day with which a text begins, as ISO 8601 writes it; None where it is no day."""
    match = _DAY.match(text.strip())
    try:
        return datetime(*map(int, match.groups()), tzinfo=UTC).timestamp() if match else None  # type: ignore[misc, arg-type]
    except ValueError:
        return None
