"""Every kind of file gives its text, and what is none is named with its reason."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, datetime
from pathlib import Path

import pyarrow
import pypdf
import pytest
from pyarrow import parquet

from node.authoring.corpus import formats
from node.authoring.corpus.formats import Found, UnreadableError, documents_in

WORDS = "The quick brown fox jumps over the lazy dog and says nothing of it to anybody. " * 4
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю, и скажи об этом всем. " * 6
PDF = (
    "<</Type/Catalog/Pages 2 0 R>>",
    "<</Type/Pages/Kids[3 0 R]/Count 1>>",
    "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
    "<</Length {size}>>stream\n{stream}\nendstream",
    "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    "<</CreationDate(D:20200229120000Z)>>",
)


def day(year: int, month: int, number: int) -> float:
    return datetime(year, month, number, tzinfo=UTC).timestamp()


def pdf_of(text: str) -> bytes:
    """A PDF of one page with one line of text."""
    stream, out, places = f"BT /F 12 Tf 20 700 Td ({text}) Tj ET", "%PDF-1.4\n", []
    for number, each in enumerate(PDF, 1):
        places.append(len(out))
        out += f"{number} 0 obj{each.replace('{size}', str(len(stream))).replace('{stream}', stream)}endobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer<</Size 7/Root 1 0 R/Info 6 0 R>>\nstartxref\n{len(out)}\n%%EOF\n"
    return f"{out}xref\n0 7\n0000000000 65535 f \n{table}{end}".encode()


def locked(data: bytes) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(data))
    writer.encrypt("secret", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def written(tmp_path: Path, name: str, content: bytes) -> Path:
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def one(path: Path) -> Found:
    (found,) = documents_in(path)
    return found


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("plain.txt", WORDS.encode(), WORDS),
        ("no-suffix", WORDS.encode("utf-8-sig"), WORDS),
        ("windows.txt", WORDS.replace(". ", ". \r\n").encode("utf-16"), WORDS.replace(". ", ".\n")),
        ("russian.txt", RUSSIAN.encode("cp1251"), RUSSIAN),
        ("packed.txt.gz", gzip.compress(WORDS.encode(), mtime=0), WORDS),
    ],
)
def test_text_is_read_in_any_encoding(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    assert one(written(tmp_path, name, content)).text == text.strip()


def test_front_matter_says_date_and_licence_and_is_no_text(tmp_path: Path) -> None:
    content = f"---\ntitle: x\ndate: 2021-05-06T10:00\nlicense: CC-BY-4.0\n---\n# Title\n\n{WORDS}"
    found = one(written(tmp_path, "post.md", content.encode()))
    assert (found.date, found.licence) == (day(2021, 5, 6), "CC-BY-4.0")
    assert found.text.startswith("# Title\n\nThe quick")


def test_html_gives_what_people_read_in_lines_of_their_own(tmp_path: Path) -> None:
    content = f"""<html><head><meta name="date" content="2019-01-02"><style>p {{}}</style></head><body><nav>menu</nav>
    <h1>Head</h1><p>A <b>bold</b> word.<ul><li>one<li>two</ul><script>var hidden = 1</script><p>{WORDS}
    <a rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/">licence</a></body>"""
    found = one(written(tmp_path, "page.html", content.encode()))
    assert (found.date, found.licence) == (day(2019, 1, 2), "CC-BY-SA-4.0")
    assert "Head" in found.text.splitlines()
    assert "A bold word." in found.text
    assert not any(word in found.text for word in ("menu", "hidden", "<"))


def test_a_pdf_gives_its_text_and_when_it_was_made(tmp_path: Path) -> None:
    found = one(written(tmp_path, "paper.pdf", pdf_of(WORDS)))
    assert found.text == WORDS.strip()
    assert found.date == datetime(2020, 2, 29, 12, tzinfo=UTC).timestamp()


def test_each_row_of_a_parquet_file_is_a_document(tmp_path: Path) -> None:
    rows = {"id": ["a", "b", "c"], "text": [WORDS, "short", WORDS + WORDS], "date": ["2001-02-03", "2002-02-03", None]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "rows.parquet")
    found = documents_in(tmp_path / "rows.parquet")
    assert [len(each.text) for each in found] == [len(WORDS.strip()), len(WORDS + WORDS.strip())]
    assert [each.date for each in found] == [day(2001, 2, 3), None]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("picture.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(400), "zero bytes"),
        ("terminal.txt", (WORDS + "\x01\x02\x03\x04" * 9).encode(), "control characters"),
        ("short.txt", b"nothing much", "less than 200 bytes"),
        ("key.txt", ("".join(map(chr, range(48, 123))) * 40).encode(), "more data than text"),
        ("table.csv", WORDS.encode(), r"data and no text, by its name \(\.csv\)"),
        ("broken.txt.gz", gzip.compress(WORDS.encode(), mtime=0)[:-40], "broken gzip"),
        ("broken.pdf", pdf_of(WORDS)[:300], "broken PDF|without text"),
        ("junk.pdf", b"%PDF-1.7\n" + bytes(range(256)) * 20, "broken PDF"),
        ("scan.pdf", pdf_of("x"), "PDF without text"),
        ("locked.pdf", locked(pdf_of(WORDS)), "a PDF with a password"),
        ("broken.parquet", b"PAR1" + bytes(100), "broken parquet"),
        ("empty.html", b"<html><script>x</script></html>", "less than 200 bytes"),
    ],
)
def test_what_is_no_text_is_named_with_its_reason(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    with pytest.raises(UnreadableError, match=why):
        documents_in(written(tmp_path, name, content))


def test_a_parquet_file_of_several_texts_has_to_say_which(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"question": [WORDS], "answer": [WORDS]}), tmp_path / "pairs.parquet")
    with pytest.raises(UnreadableError, match='without a column "text"'):
        documents_in(tmp_path / "pairs.parquet")


def test_nothing_larger_than_the_limit_is_read_or_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MOST_FILE_BYTES", 1 << 20)
    with pytest.raises(UnreadableError, match=r"larger than 1 MiB$"):
        documents_in(written(tmp_path, "large.txt", bytes(2 << 20)))
    bomb = gzip.compress(bytes(20 << 20))
    assert len(bomb) < 1 << 20
    with pytest.raises(UnreadableError, match="larger than 1 MiB when unpacked"):
        documents_in(written(tmp_path, "bomb.gz", bomb))
