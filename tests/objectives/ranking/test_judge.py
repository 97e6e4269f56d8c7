"""The judge: it asks for documents by words that nobody knows before the run, and takes nothing but a ranking."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.objectives.ranking.small_collections import BASELINE, Session, load, program, small_data

judge = load("judge")


@pytest.fixture(autouse=True)
def few_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "QUERIES", 300)


def scored(source: Any, seed: int = 1, split: str = "val", growth: int = 0) -> dict[str, float]:
    found: dict[str, float] = judge.judge(Session(source, seed, growth), seed, split)
    return found


def answering(ranking: Any) -> SimpleNamespace:
    """A program that answers every query alike."""
    return SimpleNamespace(prepare=lambda task: None, answer=lambda task, inputs: np.array(ranking))


def edited(old: str, new: str) -> Any:
    assert BASELINE.count(old) == 1
    return program(BASELINE.replace(old, new))


def test_the_baseline_finds_much_and_not_all() -> None:
    found = scored(program(BASELINE))
    assert 0.2 < found["value"] < 0.8
    assert found["reciprocal_rank"] < found["recall"] < 0.95
    assert found["price"] == 0


def test_the_same_seed_asks_the_same_and_another_something_else() -> None:
    sessions = [Session(program(BASELINE), seed) for seed in (1, 1, 2)]
    values = [judge.judge(session, 0, "val")["value"] for session in sessions]
    assert values[0] == values[1] != values[2]
    assert sessions[0].queries == sessions[1].queries
    assert not set(sessions[0].queries) & set(sessions[2].queries)


def test_a_ranking_that_finds_everything_scores_one() -> None:
    files = np.repeat(np.arange(4), 6)
    answers = np.array([0, 7, 23])
    own_then_file = [
        [answer, *(n for n in np.flatnonzero(files == files[answer]) if n != answer)] for answer in answers
    ]
    others = [[n for n in range(24) if files[n] != files[answer]][:4] for answer in answers]
    rankings = np.array([[*first, *rest] for first, rest in zip(own_then_file, others, strict=True)])
    assert judge.scores(rankings, answers, files)["ndcg"] == pytest.approx(1)
    assert judge.scores(rankings[:, ::-1], answers, files)["ndcg"] < 0.5


def test_of_the_score_a_document_in_place_two_keeps_what_the_formula_says() -> None:
    files = np.arange(20)  # no document has relatives
    ranking = np.array([[5, 3, *range(6, 14)]])
    found = judge.scores(ranking, np.array([3]), files)
    assert found["ndcg"] == pytest.approx(1 / math.log2(3))
    assert (found["recall"], found["reciprocal_rank"]) == (1, 0.5)


@pytest.mark.parametrize(
    ("ranking", "why"),
    [
        (range(-1, 9), "not from 0 to"),
        ([*range(9), 10**6], "not from 0 to"),
        ([*range(9), 8], "twice"),
        ([*range(9), np.nan], "whole numbers"),
        (np.arange(10) / 1.0, "whole numbers"),
        ([True, False] * 5, "whole numbers"),
    ],
)
def test_what_is_no_ranking_is_refused(ranking: Any, why: str) -> None:
    with pytest.raises(judge.Rejected, match=why):
        scored(answering(ranking))


def test_a_source_pays_for_its_length() -> None:
    plain, edit, loaded = (scored(program(BASELINE), growth=growth)["value"] for growth in (0, 200, 50_000))
    assert plain - edit == pytest.approx(0.006)
    assert loaded < plain - 0.9


def test_who_knows_every_pair_by_heart_finds_no_more() -> None:
    """A source with all sentences and where they belong: the words that it knows do not occur in a run."""
    documents = json.loads(small_data()["val"])
    stems = {tuple(judge.stems_of(one["pieces"][number])) for one in documents for number in one["asked"]}
    known = {word for sentence in stems for word, _ in sentence if len(word) > 3}
    session = Session(program(BASELINE))
    judge.judge(session, 0, "val")
    asked = {judge.parted(word)[0] for query in session.queries for word in query.split()}
    assert len(known) > 200
    assert not asked & known


def test_what_was_found_for_earlier_queries_says_nothing_of_the_next() -> None:
    """Were a document asked for once only, who does not give it again would find more."""
    never_again = edited(
        "    return best(task.index.scores(query))\n",
        "    scores = task.index.scores(query)\n"
        "    scores[list(task.__dict__.setdefault('given', []))] = -1\n"
        "    task.given.append(int(np.argmax(scores)))\n"
        "    return best(scores)\n",
    )
    assert scored(never_again)["value"] < scored(program(BASELINE))["value"]


def test_a_sentence_is_not_in_the_document_that_it_was_taken_from() -> None:
    dice = np.random.default_rng(1)
    for document in json.loads(small_data()["val"]):
        rest, sentence = judge.without_one(document, dice)
        assert len(rest) + len(sentence) == sum(map(len, document["pieces"]))
        assert sentence == "" or sentence not in rest


def test_words_keep_their_form_and_lose_their_stem() -> None:
    text = "Map mapped, mapping: ConnectionPool connects to a URL of `connection_pools` 404 times, 404!"
    new = judge.Vocabulary(np.random.default_rng(3)).rewrite(text)
    words = judge.WORD.findall(new)
    assert new.count(" to a ") == 1
    assert not {"map", "connect", "url", "404"} & {judge.parted(word.lower())[0] for word in words}
    first, mapped, mapping, connection, pool, connects, *_ = words
    assert mapped.removesuffix("ed") == mapping.removesuffix("ing") == first.lower() + first[-1]
    assert connection.lower().removesuffix("ion") == connects.removesuffix("s")
    assert (connection[0].isupper(), pool[0].isupper()) == (True, True)
    assert f"{pool.lower()}s`" in new
    numbers = [word for word in words if word.isdigit()]
    assert numbers == numbers[:1] * 2


def test_stems_that_begin_alike_still_do() -> None:
    vocabulary = judge.Vocabulary(np.random.default_rng(3))
    config, configuration, other = (vocabulary.rewrite(word) for word in ("config", "configuration", "session"))
    assert config[:2] == configuration[:2]
    assert config != configuration
    assert config[:4] != other[:4]


def test_of_two_stems_none_gets_the_same_word() -> None:
    vocabulary = judge.Vocabulary(np.random.default_rng(3))
    words = {f"{first}{second}{third}" for first in "bcdfg" for second in "aeiou" for third in "bkmpvxtlnr"}
    assert len({vocabulary.rewrite(word) for word in words}) == len(words)
