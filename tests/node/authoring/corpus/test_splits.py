"""Copies are left out, documents are parted whole, the newest are scored, and too little is refused in words."""

from __future__ import annotations

import random

import pytest

from node.authoring.corpus.duplicates import without_copies
from node.authoring.corpus.encoding import DOCUMENT_BEGINS, Encoding, FewWordsError
from node.authoring.corpus.folder import Document
from node.authoring.corpus.splits import DAY, Least, TooLittleError, cut, dates_tell, in_order, split

LEAST = Least(train=20_000, scored=8_000, most_train=60_000, most_scored=12_000)
WORDS = ["".join(random.Random(f"{word}").choices("abcdefghijklmnopqrstuvwxyz", k=6)) for word in range(3000)]


def text_of(seed: int, words: int = 300) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def document(seed: int, day: int = 0, text: str | None = None, place: str | None = None) -> Document:
    body = text_of(seed) if text is None else text
    return Document(body.encode(), place or f"{seed}.txt", day * DAY, "file", "")


def test_a_copy_and_a_second_edition_are_left_out_and_say_what_they_copy() -> None:
    edited = text_of(1).split()
    edited[150] = "changed"
    half = " ".join(text_of(1).split()[:150] + text_of(2).split()[150:])
    documents = [
        document(1),
        document(2),
        document(3, text=text_of(1).replace(" ", "\n")),
        document(4, text=" ".join(edited)),
        document(5, text=half),
    ]
    kept, copies = without_copies(documents)
    assert [each.place for each in kept] == ["1.txt", "2.txt", "5.txt"]
    assert [(each.place, each.why) for each in copies] == [
        ("3.txt", "the same text as 1.txt"),
        ("4.txt", "nearly the same text as 1.txt"),
    ]


def test_the_newest_are_the_holdout_and_the_oldest_are_trained_on() -> None:
    documents = [document(number, day=number) for number in range(40)]
    random.Random(1).shuffle(documents)
    parts = split(in_order(documents), LEAST)
    days = {name: [each.date / DAY for each in found] for name, found in parts.named.items()}
    assert parts.by_time
    assert min(days["holdout"]) > max(days["val"])
    assert min(days["val"]) > max(days["train"])
    assert sum(map(len, days.values())) + parts.unused == 40


def test_where_most_have_one_date_a_hash_parts_them_alike_everywhere() -> None:
    documents = [document(number, day=number % 30 if number < 5 else 7) for number in range(40)]
    assert not dates_tell(documents)
    parts = split(in_order(documents), LEAST)
    assert not parts.by_time
    assert split(in_order(documents[::-1]), LEAST) == parts


def test_a_passage_that_is_scored_is_not_trained_on() -> None:
    shared = text_of(1000, 60)
    documents = [document(number, number, f"{text_of(number)}\n\n{shared}\n\nend") for number in range(40)]
    parts = split(in_order(documents), LEAST)
    having = [name for name, found in parts.named.items() for each in found if shared.encode() in each.text]
    assert having == ["holdout"]
    assert parts.repeated == pytest.approx(39 * len(shared), rel=0.02)


def test_a_document_of_which_nothing_is_left_is_named() -> None:
    shared = [text_of(2000 + number, 60) for number in range(4)]
    documents = [document(number, number) for number in range(40)]
    documents += [
        document(50, 60, "\n\n".join([*shared, text_of(50)])),
        document(51, 1, "\n\n".join([*shared, "few words"])),
    ]
    assert [(each.place, each.why) for each in split(in_order(documents), LEAST).rest] == [
        ("51.txt", "nothing left that no other document has")
    ]


def test_where_there_is_plenty_large_documents_are_cut_and_the_rest_is_not_used() -> None:
    line = text_of(7, 12)
    large = "\n".join(f"{number} {line}" for number in range(4000))
    least = Least(train=20_000, scored=8_000, most_train=40_000, most_scored=12_000)
    found, length = cut([document(1, text=large), *(document(number) for number in range(2, 40))], least)
    assert length == 65_536
    assert length - 100 < len(found[0].text) <= length
    assert large.encode().startswith(found[0].text + b"\n")
    few, none = cut([document(number) for number in range(10)], least)
    assert (len(few), none) == (10, 0)
    parts = split(in_order([document(number, number) for number in range(200)]), least)
    assert parts.unused > 100
    assert sum(len(each.text) for each in parts.train) < least.most_train + 3000


def test_too_little_says_how_much_there_is_and_how_much_is_needed() -> None:
    with pytest.raises(TooLittleError, match=r"bytes of text in 3 documents.* and 36,000 are needed: 20,000 to train"):
        split([document(number) for number in range(3)], LEAST)


def test_documents_too_few_to_part_are_refused_with_what_to_do() -> None:
    with pytest.raises(TooLittleError, match="a file for each chapter"):
        split([document(number, text=text_of(number, 5000)) for number in range(3)], LEAST)


def test_tokens_are_the_text_and_each_documents_beginning() -> None:
    texts = [text_of(number).encode() for number in range(20)] + ["Ünïcode — 日本語\n\n\t  x".encode(), b"=" * 500]
    encoding = Encoding(b"\n".join(texts), 400)
    tokens = encoding.encode(texts)
    assert b"".join(encoding.tokens[token] for token in tokens) == b"".join(DOCUMENT_BEGINS + text for text in texts)
    assert len(encoding.tokens) == len(encoding.lengths) == 400
    assert len(tokens) < 0.8 * sum(map(len, texts))
    assert max(encoding.lengths) <= 64


def test_too_few_words_to_learn_from_are_an_error() -> None:
    with pytest.raises(FewWordsError):
        Encoding(b"one word " * 100, 1024)
