"""What a variant is refused for: with the line, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.live.constraints import faults
from node.live.folder import Claim, Constraints, Variant, read_folder
from tests.node.live.conftest import Test

CONSTRAINTS = Constraints(
    must_have=("Unsubscribe",),
    must_not_have=("last chance",),
    claims=(Claim("guarantee*", "nobody can"),),
    colours=("#ffffff", "#1a1a1a"),
    hosts=("www.example.org",),
    longest=400,
)


def found(text: str, name: str = "page.html") -> list[str]:
    path = Path(name)
    return [str(each) for each in faults(Variant("page", path, text.encode(), ()), CONSTRAINTS, frozenset({"signup"}))]


def test_a_page_that_keeps_to_everything_has_no_fault() -> None:
    page = """<p style="color: #1a1a1a; background: #ffffff; border: 1px solid #1a1a1a">
        <a href="{{go signup}}">In</a> <a href="https://www.example.org/x?ref={{token}}">Shop</a> Unsubscribe</p>"""
    assert found(page) == []


def test_the_templates_variants_have_none(garden: Test) -> None:
    folder = read_folder(garden.root)
    for variant in folder.variants.values():
        assert faults(variant, folder.settings.constraints, frozenset(folder.settings.answers)) == []
    assert len(folder.themes) >= 25
    assert len({theme.category for theme in folder.themes.values()}) >= 6


@pytest.mark.parametrize(
    "text",
    [
        "Your LAST\n chance",
        "last<b> chance</b>",
        "la<i>st</i> cha&#110;ce",
        "last&nbsp;chance",
        "ｌａｓｔ　ｃｈａｎｃｅ",
        "la\u200bst chan\u00adce",
        '<img alt="last chance">',
        "results guaranteed",
        "we Guarantee it",
        "<title>guarantees</title>",
    ],
)
def test_words_are_found_however_they_are_written(text: str) -> None:
    (fault,) = found(f"<p>\n{text} Unsubscribe</p>")
    assert "may not" in fault
    assert fault.startswith("line ")


def test_a_word_within_another_is_none() -> None:
    assert found("<p>blast chances, unguaranteed. Unsubscribe</p>") == []


def test_the_line_is_that_of_the_word() -> None:
    assert found("Unsubscribe\n\nlast chance", "page.txt") == [
        "line 3: 'last chance': these words may not appear; write it in another way"
    ]


def test_what_must_be_there_is_missed() -> None:
    assert found("<p>Welcome</p>") == ["the text has to say 'Unsubscribe'; add it"]
    assert found('<p data-x="Unsubscribe">Welcome</p><!-- Unsubscribe -->') != []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<script>fetch('//evil.example')</script>", "<script> is not allowed"),
        ('<img src="https://www.example.org/x.png" onerror="go()">', "onerror= would run a script"),
        ('<a href="java&#115;cript:go()">x</a>', "leads elsewhere"),
        ('<a href="https://evil.example/">x</a>', "leads elsewhere"),
        ('<a href="//evil.example/">x</a>', "leads elsewhere"),
        ('<a href="https://www.example.org@evil.example/">x</a>', "leads elsewhere"),
        ('<a href="https://{{token}}.evil.example/">x</a>', "leads elsewhere"),
        ('<img src="https://evil.example/pixel">', "leads elsewhere"),
        ('<img srcset="https://www.example.org/a 1x, https://evil.example/b 2x">', "leads elsewhere"),
        ('<form action="https://evil.example">', "leads elsewhere"),
        ('<meta http-equiv="refresh" content="0;url=//evil.example">', "<meta http-equiv> is not allowed"),
        ('<iframe src="https://www.example.org"></iframe>', "<iframe> is not allowed"),
        ("<svg></svg>", "<svg> is not allowed"),
        ('<base href="https://www.example.org/">', "<base> is not allowed"),
        ('<p style="background: url(https://evil.example/x)">', "may load nothing"),
        ("<style>p::after { content: 'last chance' }</style>", "write no text"),
        ("<style>@import '//evil.example/x.css';</style>", "@import would load"),
        ('<p style="color: red">', "none of the colours"),
        ('<p style="color: #ff0000">', "none of the colours"),
        ('<p style="border: 1px solid rgb(1,2,3)">', "none of the colours"),
        ('<font color="red">', "none of the colours"),
        ("{{go elsewhere}}", "is no placeholder"),
        ("{{ name }}", "is no placeholder"),
        ("x" * 500, "characters, and 400 are allowed"),
    ],
)
def test_what_is_active_leads_elsewhere_or_looks_otherwise_is_refused(text: str, says: str) -> None:
    assert any(says in fault for fault in found(f"<p>Unsubscribe</p>{text}"))


def test_plain_text_is_held_to_hosts_and_words_too() -> None:
    assert found("Read https://www.example.org/x. Unsubscribe", "page.md") == []
    assert "leads elsewhere" in found("Read [this](https://evil.example/). Unsubscribe", "page.md")[0]


def test_what_is_not_utf_8_is_refused() -> None:
    variant = Variant("page", Path("page.html"), b"Unsubscribe\n\xff", ())
    (fault,) = faults(variant, CONSTRAINTS, frozenset())
    assert (fault.line, fault.says) == (2, "this is not UTF-8; save the file as UTF-8")
