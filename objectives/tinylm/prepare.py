"""Make tinylm's data: a made-up language, the same bytes on every machine.

    python prepare.py OUT_DIR        writes train.bin, val.bin and holdout.bin

The language has phonotactics, a lexicon, agreement in gender, number and tense, a recursive grammar with topics,
collocations, names ranked by recency, sums, counters and verbatim refrains: short-range structure that a small model
learns in seconds, and long-range structure that it does not. Only integers decide (splitmix64), so nothing depends on
a platform. Every choice is charged -log2 of its probability; the sum over the text is its derivation's code length, an
upper bound on what a perfect model would need: the entropy floor, about 0.69 bits per byte.
"""

import bisect
import itertools
import math
import sys
from pathlib import Path

MASK = (1 << 64) - 1
LANGUAGE_SEED = 1
TRAIN_BYTES = 3_000_000
EVALUATION_BYTES = 262_144
SPLITS = (("train", TRAIN_BYTES), ("val", EVALUATION_BYTES), ("holdout", EVALUATION_BYTES))

SINGLE_ONSETS = list("bdfghklmnprstvz")
ONSETS = [*SINGLE_ONSETS, "ch", "sh", "th", "br", "dr", "gr", "kl", "pr", "st", "tr"]
NUCLEI = ["a", "e", "i", "o", "u", "ai", "ea", "ou"]
CODAS = ["", "", "", "n", "r", "s", "l", "m", "t", "nd", "rk"]
PLURALS = ("en", "i", "as")  # by gender
ADJECTIVE_ENDINGS = ("o", "e", "u")  # by gender
VERB_ENDINGS = (("et", "on"), ("ava", "ovu"))  # by tense, then number

TOPICS, NOUNS, VERBS, ADJECTIVES, ADVERBS, NAMES, PREPOSITIONS, CONJUNCTIONS = 24, 900, 400, 250, 60, 160, 10, 6
TOPIC_NOUNS, TOPIC_VERBS, COLLOCATES = 40, 24, 8
# cumulative weights, in per cent: plain, compound, speech, sum, day, refrain; and how recent a name is
SENTENCE_KINDS = (50, 68, 80, 84, 92, 100)
RECENCY = (8, 12, 14)
MEMORY = 12  # sentences a refrain can go back


class Dice:
    """splitmix64 (Steele, Lea and Flood 2014), counting the bits of every choice that shapes the text."""

    def __init__(self, seed):
        self.state = seed & MASK
        self.bits = 0.0

    def draw(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, n):
        """A number under n, uncharged."""
        return (self.draw() * n) >> 64

    def uniform(self, n):
        self.bits += math.log2(n)
        return self.below(n)

    def chance(self, per_mille):
        hit = self.below(1000) < per_mille
        self.bits -= math.log2((per_mille if hit else 1000 - per_mille) / 1000)
        return hit

    def pick(self, cumulative):
        """An index drawn by cumulative integer weights."""
        index = bisect.bisect_right(cumulative, self.below(cumulative[-1]))
        self.bits -= math.log2(share(cumulative, index))
        return index

    def mixture(self, parts):
        """An item from one of several ranked lists; charged its probability under the whole mixture.

        parts: (per mille, items or None for "the index itself", cumulative weights).
        """
        left = self.below(1000)
        for part in parts:
            if left < part[0]:
                break
            left -= part[0]
        _, items, cumulative = part
        bits = self.bits
        index = self.pick(cumulative)
        item = index if items is None else items[index]
        probability = 0.0
        for per_mille, items, cumulative in parts:
            places = (item,) if items is None else (i for i, other in enumerate(items) if other == item)
            probability += sum(per_mille / 1000 * share(cumulative, place) for place in places)
        self.bits = bits - math.log2(probability)
        return item


def share(cumulative, index):
    return (cumulative[index] - (cumulative[index - 1] if index else 0)) / cumulative[-1]


def zipf(n, offset=2):
    """Cumulative integer weights falling as 1/rank."""
    return list(itertools.accumulate(1_000_000 // (rank + offset) for rank in range(n)))


class Language:
    """The lexicon and the habits of its speakers, all drawn from one seed."""

    def __init__(self, seed):
        dice = Dice(seed ^ 0xA5A5A5A5)
        words = set()
        onset, nucleus, coda = zipf(len(ONSETS)), zipf(len(NUCLEI)), zipf(len(CODAS), 4)

        def word(least, most):
            while True:
                syllables = least + dice.below(most - least + 1)
                made = "".join(
                    ONSETS[dice.pick(onset)] + NUCLEI[dice.pick(nucleus)] + CODAS[dice.pick(coda)]
                    for _ in range(syllables)
                )
                if made not in words and len(made) > 1:
                    words.add(made)
                    return made

        self.nouns = [(word(1, 3), dice.below(3)) for _ in range(NOUNS)]  # stem, gender
        self.verbs = [word(1, 2) for _ in range(VERBS)]
        self.adjectives = [word(1, 3) for _ in range(ADJECTIVES)]
        self.adverbs = [word(2, 3) for _ in range(ADVERBS)]
        self.names = [word(2, 3).capitalize() for _ in range(NAMES)]
        self.prepositions = [word(1, 1) for _ in range(PREPOSITIONS)]
        self.conjunctions = [word(1, 1) for _ in range(CONJUNCTIONS)]
        self.articles = [[word(1, 1) for _ in range(3)] for _ in range(2)]  # by definiteness, then gender
        self.that, self.says, self.makes, self.day = word(1, 1), word(1, 2), word(1, 1), word(1, 2)
        self.topic_nouns = [[dice.below(NOUNS) for _ in range(TOPIC_NOUNS)] for _ in range(TOPICS)]
        self.topic_verbs = [[dice.below(VERBS) for _ in range(TOPIC_VERBS)] for _ in range(TOPICS)]
        self.objects = [[dice.below(NOUNS) for _ in range(COLLOCATES)] for _ in range(VERBS)]
        self.qualities = [[dice.below(ADJECTIVES) for _ in range(COLLOCATES)] for _ in range(NOUNS)]
        sizes = (NOUNS, VERBS, ADJECTIVES, ADVERBS, PREPOSITIONS, CONJUNCTIONS, TOPIC_NOUNS, TOPIC_VERBS, COLLOCATES)
        self.ranks = {size: zipf(size) for size in sizes}


class Document:
    """One text about one topic: its grammar's state, and the sentences as they come."""

    def __init__(self, language, dice):
        self.language, self.dice = language, dice
        self.topic = dice.uniform(TOPICS)
        self.tense = dice.uniform(2)
        self.days = dice.uniform(90)
        self.people = [language.names[dice.uniform(NAMES)] for _ in range(len(RECENCY))]
        self.said = []

    def text(self):
        title = self.language.nouns[self.language.topic_nouns[self.topic][0]][0]
        lines = [f"== {title} {self.days} {'ab'[self.tense]} {', '.join(self.people)} ==\n"]
        for _ in range(2 + self.dice.uniform(4)):
            sentences = 3 + self.dice.uniform(4)
            lines.append(" ".join(self.sentence() for _ in range(sentences)) + "\n")
        return "".join(lines) + "\n"

    def sentence(self):
        makers = (self.plain, self.compound, self.speech, self.sum, self.diary)
        kind = self.dice.pick(SENTENCE_KINDS)
        if kind == len(makers):  # a refrain: something said before, word for word
            if self.said:
                return self.said[self.dice.uniform(len(self.said))]
            made = self.clause()
            return made[0].upper() + made[1:] + "."
        made = makers[kind]()
        made = made[0].upper() + made[1:]
        self.said = [*self.said, made][-MEMORY:]
        return made

    def plain(self):
        return self.clause() + "."

    def compound(self):
        first = self.clause()
        conjunction = self.language.conjunctions[self.dice.pick(self.language.ranks[CONJUNCTIONS])]
        return f"{first}, {conjunction} {self.clause()}."

    def speech(self):
        name = self.name()
        return f'{name} {self.language.says}{VERB_ENDINGS[self.tense][0]}: "{self.clause()}."'

    def sum(self):
        a, b = self.dice.uniform(20), self.dice.uniform(20)
        return f"{a} {self.language.makes} {b}: {a + b}."

    def diary(self):
        self.days += 1
        return f"{self.language.day} {self.days}: {self.clause()}."

    def clause(self):
        subject, number = self.noun_phrase(0)
        return subject + " " + self.verb_phrase(number, 0)

    def name(self):
        """A person of this text; whoever is named comes to the front."""
        name = self.people.pop(self.dice.pick(RECENCY))
        self.people.insert(0, name)
        return name

    def noun_phrase(self, depth, verb=None):
        """A name, or article, adjective, noun and perhaps a relative clause, all agreeing; and its number."""
        language, dice, ranks = self.language, self.dice, self.language.ranks
        if verb is None and dice.chance(330):
            return self.name(), 0
        topical = (language.topic_nouns[self.topic], ranks[TOPIC_NOUNS])
        parts = [(500, *topical), (500, None, ranks[NOUNS])]
        if verb is not None:
            parts = [(550, language.objects[verb], ranks[COLLOCATES]), (250, *topical), (200, None, ranks[NOUNS])]
        noun = dice.mixture(parts)
        stem, gender = language.nouns[noun]
        number = int(dice.chance(300))
        definite = int(dice.chance(350))
        words = [language.articles[definite][gender]]
        if dice.chance(300):
            parts = [(650, language.qualities[noun], ranks[COLLOCATES]), (350, None, ranks[ADJECTIVES])]
            words.append(language.adjectives[dice.mixture(parts)] + ADJECTIVE_ENDINGS[gender])
        words.append(stem + (PLURALS[gender] if number else ""))
        if depth < 2 and dice.chance(120):
            words += [language.that, self.verb_phrase(number, depth + 1)]
        return " ".join(words), number

    def verb_phrase(self, number, depth):
        language, dice, ranks = self.language, self.dice, self.language.ranks
        verb = dice.mixture([(500, language.topic_verbs[self.topic], ranks[TOPIC_VERBS]), (500, None, ranks[VERBS])])
        words = [language.verbs[verb] + VERB_ENDINGS[self.tense][number]]
        if dice.chance(200):
            words.append(language.adverbs[dice.pick(ranks[ADVERBS])])
        if dice.chance(700):
            words.append(self.noun_phrase(depth + 1, verb)[0])
        if depth < 2 and dice.chance(250):
            preposition = language.prepositions[dice.pick(ranks[PREPOSITIONS])]
            words += [preposition, self.noun_phrase(depth + 1)[0]]
        return " ".join(words)


def write_split(language, number, size):
    """The first `size` bytes of a split's endless text, and its entropy floor in bits per byte."""
    dice = Dice(LANGUAGE_SEED * 1_000_003 + number * 7919 + 17)
    pieces, length = [], 0
    while length < size:
        pieces.append(Document(language, dice).text())
        length += len(pieces[-1])
    return "".join(pieces).encode("ascii")[:size], dice.bits / length


def main():
    out = Path(sys.argv[1])
    language = Language(LANGUAGE_SEED)
    for number, (name, size) in enumerate(SPLITS):
        data, floor = write_split(language, number, size)
        (out / f"{name}.bin").write_bytes(data)
        print(f"{name}: {len(data)} bytes, entropy floor {floor:.3f} bits per byte", flush=True)


if __name__ == "__main__":
    main()
