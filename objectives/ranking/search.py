"""The file that research edits: a search engine, BM25 in its plainest form, so that there is something to find.

The contract: `prepare(task)` is called once, with the documents in `task.arrays`: "text", all of them as bytes, and
"offsets", where each begins and, at last, where the last ends. Then `answer(task, inputs)` gets one query at a time, as
bytes, and returns the numbers of the ten documents that fit it best, the best first. To learn from there is another
collection, "train_text" and "train_offsets", with queries, "query_text" and "query_offsets", and the number of the
document that each looked for, "query_answers". `task` also offers `seed` and `threads`. numpy and torch can be
imported.

UPPERCASE constants are found by the search over numbers; small functions are easy for an idea to replace.
"""

import re
from collections import Counter
from itertools import pairwise

import numpy as np

K1 = 1.2  # how soon a further occurrence of a term in a document counts less
B = 0.75  # how much longer documents count less, from 0 to 1
WORD = re.compile(r"\w+")


def prepare(task):
    task.index = Index(texts_of(task.arrays["text"], task.arrays["offsets"]))


def answer(task, inputs):
    query = terms_of_query(inputs.tobytes().decode())
    return best(task.index.scores(query))


def texts_of(text, offsets):
    """The texts that were packed into one array of bytes."""
    whole = text.tobytes().decode()
    return [whole[begin:end] for begin, end in pairwise(offsets)]


def terms_of(text):
    """The terms of a text, in their order."""
    return WORD.findall(text.lower())


def terms_of_document(text):
    """The terms of a document, by how often they occur; a weight need not be a whole number."""
    return Counter(terms_of(text))


def terms_of_query(text):
    """The terms of a query, by their weights."""
    return Counter(terms_of(text))


def rarity(found, documents):
    """The weight of a term that occurs in so many of the documents (Robertson and Spärck Jones 1976)."""
    return np.log(1 + (documents - found + 0.5) / (found + 0.5))


def saturation(counts, lengths):
    """What a term counts that occurs so often in a document of such a length (Robertson et al. 1994)."""
    return counts * (K1 + 1) / (counts + K1 * (1 - B + B * lengths))


def document_weight(lengths):
    """What a document is worth whatever the query, from its length, 1 for the mean."""
    return np.zeros(len(lengths))


def best(scores):
    """The numbers of the ten highest scores, the highest first."""
    top = np.argpartition(-scores, 10)[:10]
    return top[np.argsort(-scores[top], kind="stable")]


class Index:
    """For each term the documents that it occurs in, and what it adds to the score of each."""

    def __init__(self, texts):
        counts = [terms_of_document(text) for text in texts]
        lengths = np.array([sum(each.values()) for each in counts])
        self.documents = len(texts)
        self.lengths = lengths / lengths.mean()
        found = {}
        for number, each in enumerate(counts):
            for term, count in each.items():
                found.setdefault(term, []).append((number, count))
        self.postings = {term: self.posting(pairs) for term, pairs in found.items()}

    def posting(self, pairs):
        numbers = np.array([number for number, _ in pairs])
        counts = np.array([count for _, count in pairs], dtype=np.float64)
        return numbers, rarity(len(pairs), self.documents) * saturation(counts, self.lengths[numbers])

    def scores(self, query):
        """How well each document fits a query, (documents,)."""
        scores = document_weight(self.lengths)
        for term, weight in query.items():
            if term in self.postings:
                numbers, weights = self.postings[term]
                scores[numbers] += weight * weights
        return scores
