"""tinylm's text: a made-up language of its own for every run, and documents in it.

`draw(seed, name)` is called in a sandbox, with a seed of the run's, for each of "train", "val" and "holdout". No source
ever learns that seed. The language (its words, who goes with what, which byte stands for which letter) is drawn from
the seed alone; the documents from the seed and the name, so that no document is in two of the texts. Nothing about a
text can be known before the run, so there is nothing to look up: it must be learnt.

The language has phonotactics, a lexicon, agreement in gender, number and tense, a recursive grammar with topics,
collocations, names ranked by recency, sums, counters and verbatim refrains: short-range structure that a small model
learns in seconds, and long-range structure that it does not. A perfect model would need about 0.69 bits per byte.

The same seed and name give the same bytes everywhere: all chance is random.random() of Python's generator seeded with
bytes, which Python promises to keep, and whole numbers. That generator keeps no secrets: from 160 kB of text one can
solve for its state, which is linear in what it gives, and read out of that what it was seeded with. So it is seeded
with a hash, and every scored window has a generator of its own, for which no window says enough.
"""

import bisect
import hashlib
import itertools
import random

CONTEXT = 64  # as in objective.toml
# By scale. 525,000 bytes are 8,203 windows, of which a run reads 8,192, each once; so at the others.
TRAIN_BYTES = {"": 525_000, "medium": 787_000, "large": 1_049_000}
WINDOWS = 4096  # scored with the final weights
CHECKPOINT_WINDOWS = 256  # scored with each checkpoint's
CHECKPOINTS = 3
TITLE_SHARE = 100  # per mille of the scored windows that begin in a document's title, as in running text

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
    """All chance of one text. Each method draws one number."""

    def __init__(self, label):
        self.random = random.Random(hashlib.sha256(label.encode()).digest()).random

    def uniform(self, n):
        """A whole number from 0 to n - 1, each as likely."""
        return int(self.random() * n)

    def chance(self, per_mille):
        return self.random() * 1000 < per_mille

    def pick(self, cumulative):
        """An index, by cumulative weights."""
        return bisect.bisect_right(cumulative, int(self.random() * cumulative[-1]))

    def mixture(self, parts):
        """An item from one of several ranked lists: (per mille, items or None for "the index itself", weights)."""
        left = self.random() * 1000
        for part in parts:
            if left < part[0]:
                break
            left -= part[0]
        _, items, cumulative = part
        index = self.pick(cumulative)
        return index if items is None else items[index]


def zipf(n, offset=2):
    """Cumulative integer weights falling as 1/rank."""
    return list(itertools.accumulate(1_000_000 // (rank + offset) for rank in range(n)))


class Language:
    """The lexicon, the habits of its speakers and its script, all drawn from one seed."""

    def __init__(self, seed):
        dice = Dice(f"tinylm language {seed}")
        words = set()
        onset, nucleus, coda = zipf(len(ONSETS)), zipf(len(NUCLEI)), zipf(len(CODAS), 4)

        def word(least, most):
            while True:
                syllables = least + dice.uniform(most - least + 1)
                made = "".join(
                    ONSETS[dice.pick(onset)] + NUCLEI[dice.pick(nucleus)] + CODAS[dice.pick(coda)]
                    for _ in range(syllables)
                )
                if made not in words and len(made) > 1:
                    words.add(made)
                    return made

        self.nouns = [(word(1, 3), dice.uniform(3)) for _ in range(NOUNS)]  # stem, gender
        self.verbs = [word(1, 2) for _ in range(VERBS)]
        self.adjectives = [word(1, 3) for _ in range(ADJECTIVES)]
        self.adverbs = [word(2, 3) for _ in range(ADVERBS)]
        self.names = [word(2, 3).capitalize() for _ in range(NAMES)]
        self.prepositions = [word(1, 1) for _ in range(PREPOSITIONS)]
        self.conjunctions = [word(1, 1) for _ in range(CONJUNCTIONS)]
        self.articles = [[word(1, 1) for _ in range(3)] for _ in range(2)]  # by definiteness, then gender
        self.that, self.says, self.makes, self.day = word(1, 1), word(1, 2), word(1, 1), word(1, 2)
        self.topic_nouns = [[dice.uniform(NOUNS) for _ in range(TOPIC_NOUNS)] for _ in range(TOPICS)]
        self.topic_verbs = [[dice.uniform(VERBS) for _ in range(TOPIC_VERBS)] for _ in range(TOPICS)]
        self.objects = [[dice.uniform(NOUNS) for _ in range(COLLOCATES)] for _ in range(VERBS)]
        self.qualities = [[dice.uniform(ADJECTIVES) for _ in range(COLLOCATES)] for _ in range(NOUNS)]
        self.bytes = bytes(sorted(range(256), key=lambda _: dice.random()))  # what stands for each letter
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

    def title(self):
        title = self.language.nouns[self.language.topic_nouns[self.topic][0]][0]
        return f"== {title} {self.days} {'ab'[self.tense]} {', '.join(self.people)} ==\n"

    def text(self):
        lines = [self.title()]
        for _ in range(2 + self.dice.uniform(4)):
            sentences = 3 + self.dice.uniform(4)
            lines.append(" ".join(self.sentence() for _ in range(sentences)) + "\n")
        return "".join(lines) + "\n"

    def excerpt(self, size):
        """`size` letters from somewhere in the text; what came before is not made."""
        text = self.title() if self.dice.chance(TITLE_SHARE) else self.sentence() + self.space()
        begin = self.dice.uniform(len(text))
        while len(text) < begin + size:
            text += self.sentence() + self.space()
        return text[begin : begin + size]

    def space(self):
        """What separates two sentences: now and then a paragraph ends."""
        return "\n" if self.dice.chance(220) else " "

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


def documents(language, dice, size):
    """Whole documents, cut off after `size` letters."""
    pieces, length = [], 0
    while length < size:
        pieces.append(Document(language, dice).text())
        length += len(pieces[-1])
    return "".join(pieces)[:size]


def draw(seed, name, scale=""):
    """The training text for a scale; or windows of CONTEXT + 1 bytes to be scored, each from a document of its own."""
    language, label = Language(seed), f"tinylm {name} {seed}"
    if name == "train":
        text = documents(language, Dice(label), TRAIN_BYTES[scale])
    else:
        all_dice = (Dice(f"{label} {number}") for number in range(WINDOWS + CHECKPOINTS * CHECKPOINT_WINDOWS))
        text = "".join(Document(language, dice).excerpt(CONTEXT + 1) for dice in all_dice)
    return text.encode("ascii").translate(language.bytes)
