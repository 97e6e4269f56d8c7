"""The judge: how well a search engine ranks the documents of a collection for queries that it gets one at a time.

A document is a docstring without one of its sentences, its summary or another; a query is what somebody may remember
of that sentence: its words without the common ones, some of them forgotten, each in a form in which the collection has
it somewhere. The document that it was taken from is what is looked for (grade 2, known-item search); the others of its
file are related (grade 0.5). The score is the mean of NDCG over the first ten (Järvelin and Kekäläinen 2002), with
gains of 2^grade − 1.

The text is public. Three things make it useless to know by heart what belongs together:

- Every run writes the text in words of its own: each stem gets another, drawn one, the same wherever it occurs. Common
  words, markup, endings, capitals and punctuation stay, and what two stems have in common at their beginning; so does
  everything that words say by how often and where they occur. What is looked for is a better engine, no dictionary.
- A run draws which documents are in its collection, and which sentence of each is asked, of thousands.
- A source pays for what it has grown by, compressed.

One collection is for learning: its queries come with their answers. Another is asked about; no file is in both. Each
query is drawn from all of the collection's, so what was asked before says nothing of what is asked next.
"""

import json
import re
from functools import cache

import numpy as np

QUERIES = 1500  # of a run
SHARE = 0.8  # of the documents are in a run's collection
TOP = 10  # documents of an answer
# What a source has grown by, compressed, costs so much for each byte. An edit grows it by 50 to 400 bytes; to know a
# tenth of the answers takes at least four thousand.
PRICE = 3e-5
OWN, RELATED = 3.0, 2**0.5 - 1  # gains of grades 2 and 0.5
FORGOTTEN = 0.2  # of the words of a sentence
FEWEST_WORDS = 3  # of a query
DISCOUNTS = 1 / np.log2(np.arange(2, TOP + 2))

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
STEM = re.compile(
    r"([a-z]{2,}?)((?:ations?|ators?|ments?|abl[ey]|ibl[ey]|ives?|ions?|iz(?:es?|ed|ing|ers?)|ers?|ors?|ings?|ness|ity"
    r"|ities|ally|als?|ly|ed|es?|(?<=[^aeious])(?:y|ies|ied)|(?<![su])s)?)"
)
DOUBLED = re.compile(r"([a-z]+[aeiou]([bdfgmnprt]))\2(ings?|ed|ers?)")
SHARED = 4  # letters at the beginning of a stem, whose counterpart all stems share that begin with them
COMMON = """
    a about above after all also although always an and any are as at be because been before being below
    between both but by can cannot could did do does doing each either else etc even every few first for from
    further had has have having how however if in instead into is it its itself just last least less like made
    make makes many may might more most much must need needs neither never new no non none nor not now of off
    often on once one only onto or other others our out over own per rather same should since so some such
    than that the their them then there therefore these they this those through thus to too two under until up
    upon us use used uses using very via was way we well were what when where whether which while who whose
    why will with within without would yet you your i e g s t d ll re ve arg args argument arguments attr
    attribute attributes class code data deprecated example examples exc func function int keyword list meth
    method mod module note notes object param parameter parameters paramref python raise raises ref return
    returned returning returns rtype section see sourcecode str string term true false tuple dict bool type
    types value values versionadded versionchanged version warning yield yields
"""
COMMON = frozenset(COMMON.split())
CONSONANTS, ENDS, VOWELS = "bcdfghjklmnprstvwz", "bfkmpvx", "aeiou"


class Rejected(Exception):
    """What the engine answered is no ranking; the text says why."""


def judge(session, seed, split):
    """Score an engine on a split, "val" or "holdout". Returns finite numbers by name: "value" is the score."""
    vocabulary = Vocabulary(session.generator("vocabulary"))
    learnt = Collection(session.data["train"], session.generator("train"), vocabulary)
    asked = Collection(session.data[split], session.generator(split), vocabulary)
    text, offsets = packed(asked.bodies)
    train_text, train_offsets = packed(learnt.bodies)
    query_text, query_offsets = packed([learnt.query(number) for number in learnt.answers])
    session.prepare(
        text=text,
        offsets=offsets,
        train_text=train_text,
        train_offsets=train_offsets,
        query_text=query_text,
        query_offsets=query_offsets,
        query_answers=learnt.answers,
    )
    answers = session.generator(f"{split} queries").choice(asked.answers, QUERIES)
    queries = [np.frombuffer(asked.query(number).encode(), dtype=np.uint8) for number in answers]
    rankings = [checked(found, len(asked.bodies)) for found in session.stream(queries, shape=(TOP,))]
    found = scores(np.stack(rankings), answers, asked.files)
    price = PRICE * session.source_growth
    return {**found, "value": found["ndcg"] - price, "price": price}


def checked(ranking, documents):
    """A ranking that is TOP different numbers of documents. Raises Rejected."""
    if ranking.dtype.kind not in "iu":
        raise Rejected(f"a ranking is whole numbers of documents, not {ranking.dtype}")
    if ranking.min() < 0 or ranking.max() >= documents:
        raise Rejected(f"a ranking has a number that is not from 0 to {documents - 1}")
    if len(np.unique(ranking)) < TOP:
        raise Rejected("a ranking has a document twice")
    return ranking.astype(np.int64)


def scores(rankings, answers, files):
    """NDCG, and what the field shows beside it, of rankings (queries, TOP) where `answers` (queries) is looked for."""
    own = rankings == answers[:, None]
    related = (files[rankings] == files[answers][:, None]) & ~own
    found = (np.where(own, OWN, 0) + np.where(related, RELATED, 0)) @ DISCOUNTS
    # The best that there is: the document itself, then as many of its file as there are, and fit.
    best_related = np.concatenate([[0], np.cumsum(RELATED * DISCOUNTS[1:])])
    others = np.minimum(np.bincount(files)[files[answers]] - 1, TOP - 1)
    return {
        "ndcg": np.mean(found / (OWN * DISCOUNTS[0] + best_related[others])),
        "recall": np.mean(own.any(axis=1)),
        "reciprocal_rank": np.mean(own @ (1 / np.arange(1, TOP + 1))),
    }


def packed(texts):
    """Texts as one array of bytes, and where each begins; the last number is where the last ends."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets


class Collection:
    """Drawn documents in a drawn order, in the words of this run.

    bodies: their text. files: for each, the number of its file. answers: those that a query is known for.
    """

    def __init__(self, content, dice, vocabulary):
        documents = json.loads(content)
        documents = [documents[number] for number in dice.permutation(len(documents))[: int(SHARE * len(documents))]]
        numbers = {}
        self.files = np.array([numbers.setdefault(document["file"], len(numbers)) for document in documents])
        parts = [without_one(document, dice) for document in documents]
        self._endings = endings_of(rest for rest, _ in parts)
        self._stems = [stems_of(sentence) for _, sentence in parts]
        self.bodies = [vocabulary.rewrite(rest) for rest, _ in parts]
        self.answers = np.array([number for number, stems in enumerate(self._stems) if len(stems) >= FEWEST_WORDS])
        self._dice, self._vocabulary = dice, vocabulary

    def query(self, number):
        """What is remembered of the sentence that a document lacks: drawn anew whenever it is asked for."""
        stems = self._stems[number]
        kept = self._dice.random(len(stems)) >= FORGOTTEN
        if kept.sum() < FEWEST_WORDS:
            kept[:] = True
        return " ".join(self._form(*stem) for stem, remembered in zip(stems, kept, strict=True) if remembered)

    def _form(self, stem, ending):
        """A form of a word in which the documents have it; what none of them has stays as it was."""
        endings = self._endings.get(stem, [ending])
        return self._vocabulary.word(stem, endings[self._dice.integers(len(endings))])


def without_one(document, dice):
    """A docstring without a drawn one of the sentences that may be asked, and that sentence; "" where there is none."""
    pieces, asked = document["pieces"], document["asked"]
    if not asked:
        return "".join(pieces), ""
    taken = asked[dice.integers(len(asked))]
    return "".join(pieces[:taken] + pieces[taken + 1 :]), pieces[taken]


def endings_of(texts):
    """For each stem the ending of every word that has it."""
    endings = {}
    for text in texts:
        for word in WORD.findall(text):
            stem, ending = parted(word.lower())
            endings.setdefault(stem, []).append(ending)
    return endings


def stems_of(sentence):
    """The words of a sentence, those of names apart, as stems with their endings; no numbers and no common words."""
    words = [word.lower() for word in WORD.findall(sentence)]
    return [parted(word) for word in words if word not in COMMON and not word.isdigit()]


@cache
def parted(word):
    """The stem of a word in small letters, and its ending, which begins with + where it doubles the stem's last."""
    doubled = DOUBLED.fullmatch(word)  # mapped: map, +ed
    if doubled:
        return doubled[1], f"+{doubled[3]}"
    whole = STEM.fullmatch(word)
    return (whole[1], whole[2]) if whole else (word, "")


class Vocabulary:
    """The words of one run: another stem for each stem, drawn when it is met for the first time."""

    def __init__(self, dice):
        self._dice = dice
        self._words = {}  # word: the word in its place
        self._beginnings = {}
        self._stems = {}
        self._taken = set(COMMON)

    def rewrite(self, text):
        return WORD.sub(self._replaced, text)

    def word(self, stem, ending):
        """The word in the place of a stem with this ending."""
        new = self._stem(stem)
        return new + (new[-1] + ending[1:] if ending.startswith("+") else ending)

    def _replaced(self, match):
        word = match[0]
        if word not in self._words:
            self._words[word] = self._drawn(word)
        return self._words[word]

    def _drawn(self, word):
        lower = word.lower()
        if lower in COMMON:
            return word
        if lower.isdigit():
            return str(self._dice.integers(1, 10 ** self._dice.integers(1, 5)))
        new = self.word(*parted(lower))
        if word.isupper() and len(word) > 1:
            return new.upper()
        return new.capitalize() if word[0].isupper() else new

    def _stem(self, stem):
        if stem not in self._stems:
            beginning = stem[:SHARED]
            if beginning not in self._beginnings:
                self._beginnings[beginning] = self._fresh("")
            self._stems[stem] = self._fresh(self._beginnings[beginning], self._letters(ENDS))
        return self._stems[stem]

    def _fresh(self, beginning, end=""):
        """What nothing else has been given: the beginning, some syllables, and the end."""
        new = ""
        while not new or new in self._taken:
            syllables = self._letters(CONSONANTS) + self._letters(VOWELS)
            if self._dice.random() < 0.5:
                syllables += self._letters(CONSONANTS) + self._letters(VOWELS)
            new = beginning + syllables + end
        self._taken.add(new)
        return new

    def _letters(self, letters):
        return letters[self._dice.integers(len(letters))]
