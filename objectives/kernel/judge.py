"""The judge: how many times as fast as a plain reference a program's kernels answer, all of them rightly.

It alone draws the questions, holds the reference, in float64, and reads the clock. Theory of operation:

1. Gates. Each kernel is asked about every length from 1 to 32 of its longest axis, about some longer ones, about each
   case at the edge of its types, and about pairs of questions that differ in one number. Nothing of it is timed.
2. Timed questions. Each kernel has cells, which are a type and a size drawn for this run. In each round every cell is
   asked a question, in an order that is drawn; the least time of a cell counts. Both of a pair take turns by rounds.
   Where the machine is so busy that the least times of a cell differ, it is asked in more rounds.
3. Traps. Between them, and of the same sizes, are questions of cases at the edge that are not timed.
4. Every answer of every question, timed or not, is compared with the reference. One that is wrong ends the run.

So what is fast and wrong for some sizes or numbers gains nothing by it: it is not asked, or not accepted. No question
is asked twice, those of a cell have no number in common, and the pairs of the gates differ in one number; so an answer
that was kept, or a buffer that was not filled anew, is a wrong answer. That a question is timed a program may well
find out, since its answer is compared as any other.

The reference is timed in the same session, once for both programs of a pair: what disturbs it is a common factor of
both values, and drops out of their ratio. `other sizes` is the speed-up at sizes that count for nothing else.
"""

import time
from itertools import pairwise

import numpy as np

SPEED_ROUNDS = 20  # of the timed questions; the least time of a cell counts
MOST_ROUNDS = 40  # where the least times of a cell are not near to each other by then
NEAR, NEAR_TIMES = 1.1, 3  # so many times within this factor show what a cell takes when nothing interferes
OTHER_ROUNDS = 12  # of those at other sizes
TRAPS = 3  # of each cell
GATE_SIZES = 32  # every length up to this one, so that no remainder of any division up to it is left out
LONGER_GATES = 6
OWN_ANSWERS = {}  # what the reference answered and in which time; both programs of a pair are compared with the same


class Rejected(Exception):
    """An answer of the program is wrong; the text says where."""


def judge(session, seed, split):
    """Score a program. Returns finite numbers by name: "value" is the speed-up, a geometric mean over cells."""
    gates = [gate for kernel in KERNELS for gate in gates_of(kernel, session.generator(f"gates {kernel.name}"))]
    cells = [cell for kernel in KERNELS for cell in cells_of(kernel, session.generator(f"cells {kernel.name}"))]
    order = session.generator("order")
    for number in order.permutation(len(gates)):
        ask_in_turn(session, *gates[number], f"gate {number}")
        session.progress(0.3 * number / len(gates))
    for turn in range(MOST_ROUNDS + 1):
        asked = [cell for cell in cells if cell.is_asked(turn)]
        if not asked:
            break
        for place, number in enumerate(order.permutation(len(asked))):
            asked[number].ask(session, turn, same_turn=place > 0)
        for number in order.permutation(len(cells)):
            if turn in cells[number].traps:
                cells[number].ask_trap(session, turn)
        session.progress(0.3 + 0.7 * min(1, turn / SPEED_ROUNDS))
    return metrics(cells, machine())


def gates_of(kernel, dice):
    """(kernel, questions) for each gate: one question, or twins."""
    for size in kernel.small_sizes(dice):
        yield kernel, [kernel.draw(dice, dice.choice(kernel.kinds), size)]
    for kind in kernel.kinds:
        for edge in kernel.edges:
            yield kernel, [edge(kernel, dice, kind, kernel.small_size(dice))]
        yield kernel, kernel.twins(dice, kind)


def cells_of(kernel, dice):
    for number, kind in enumerate(kernel.timed_kinds):
        yield Cell(kernel, f"{kernel.name} {number}", np.dtype(kind), kernel.size(dice), dice)
    yield Cell(kernel, f"{kernel.name} other", np.dtype("f4"), kernel.other_size(dice), dice, other=True)


def ask_in_turn(session, kernel, questions, label):
    """Ask a question, or twins: what lies in the same problem of both must have the same answer to the last bit."""
    answers = []
    for number, inputs in enumerate(questions):
        answer = session.ask(inputs, shape=kernel.shape(inputs))
        kernel.check(inputs, answer, own_answer(kernel, inputs, f"{label} {number}")[0])
        answers.append(answer)
    for first, second in pairwise(answers):
        if not kernel.same_but_for_the_last(first, second):
            raise Rejected(f"{kernel.name}: the same problem, beside another one, has another answer")


def own_answer(kernel, inputs, label):
    """(what the reference answers, the seconds it took). It is worked out once for all programs of the session."""
    if label not in OWN_ANSWERS:
        begun = time.perf_counter()
        answer = kernel.reference(inputs)
        OWN_ANSWERS[label] = answer, time.perf_counter() - begun
    return OWN_ANSWERS[label]


class Cell:
    """A kernel at one size and type: what is asked there, and the least times it took."""

    def __init__(self, kernel, label, kind, size, dice, other=False):
        self.kernel, self.label, self.kind, self.size, self.other = kernel, label, kind, size, other
        self.rounds = OTHER_ROUNDS if other else SPEED_ROUNDS
        turns = dice.choice(np.arange(1, self.rounds), TRAPS, replace=False)
        edges = dice.choice(len(kernel.edges), TRAPS, replace=False)
        self.traps = {int(turn): kernel.edges[edge] for turn, edge in zip(turns, edges, strict=True)}
        self.times, self.own_seconds = [], np.inf
        self.work = (0, 0)

    @property
    def seconds(self):
        return min(self.times)

    def is_asked(self, turn):
        """Whether this round is one of its own, or its least times are so far apart that none can be relied on."""
        least = sorted(self.times)[:NEAR_TIMES]
        return turn <= self.rounds or least[-1] > NEAR * least[0]

    def ask(self, session, turn, same_turn=False):
        """One question with numbers of its own. The first of a cell is not timed, since it may be slower."""
        label = f"{self.label}, {turn}"
        inputs = self.kernel.draw(session.generator(label), self.kind, self.size)
        own, own_seconds = own_answer(self.kernel, inputs, label)
        if turn == 0:
            answer = session.ask(inputs, shape=self.kernel.shape(inputs))
        else:
            answer, seconds = session.time(inputs, shape=self.kernel.shape(inputs), same_turn=same_turn)
            self.times.append(seconds)
            if turn <= self.rounds:  # both of a pair have these, so the reference's time is the same for both
                self.own_seconds = min(self.own_seconds, own_seconds)
        self.kernel.check(inputs, answer, own)
        self.work = self.kernel.work(inputs)

    def ask_trap(self, session, turn):
        label = f"{self.label}, trap {turn}"
        inputs = self.traps[turn](self.kernel, session.generator(label), self.kind, self.size)
        answer = session.ask(inputs, shape=self.kernel.shape(inputs))
        self.kernel.check(inputs, answer, own_answer(self.kernel, inputs, label)[0])

    def speedup(self):
        return self.own_seconds / self.seconds

    def share_of_roofline(self, bandwidth, rate):
        """The least time in which this machine could move the bytes and make the operations, over the time it took."""
        moved, operations = self.work
        return max(moved / bandwidth, operations / rate[self.kind.itemsize]) / self.seconds


def metrics(cells, measured):
    bandwidth, rate = measured
    counted = [cell for cell in cells if not cell.other]
    found = {"value": mean([cell.speedup() for cell in counted])}
    for kernel in KERNELS:
        own = [cell for cell in counted if cell.kernel is kernel]
        found[f"{kernel.name} speedup"] = mean([cell.speedup() for cell in own])
        found[f"{kernel.name} ms"] = 1e3 * mean([cell.seconds for cell in own])
        found[f"{kernel.name} of roofline"] = mean([cell.share_of_roofline(bandwidth, rate) for cell in own])
    found["other sizes"] = mean([cell.speedup() for cell in cells if cell.other])
    return found | {"copy GB/s": bandwidth / 1e9, "matmul GFLOP/s": rate[4] / 1e9}


def mean(numbers):
    """The geometric mean."""
    return float(np.exp(np.mean(np.log(numbers))))


def machine():
    """(bytes a second of a copy, read and written; operations a second of a matrix product by bytes of a number).

    Of halves too: no processor is asked to multiply them, so the rate is that of singles.
    """
    source = np.ones(1 << 21)
    copy = np.empty_like(source)
    bandwidth = 2 * source.nbytes / least_seconds(lambda: np.copyto(copy, source))
    rate = {}
    for dtype in (np.float32, np.float64):
        square = np.ones((256, 256), dtype)
        rate[square.itemsize] = 2 * 256**3 / least_seconds(lambda square=square: square @ square)
    return bandwidth, rate | {2: rate[4]}


def least_seconds(work, times=7):
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


def near(name, answer, own, allowed):
    """Refuse an answer that is anywhere further from the reference than is allowed, or of another type."""
    expected, most = own
    if answer.dtype != most.dtype:
        raise Rejected(f"{name}: an answer of type {answer.dtype} where {most.dtype} was asked about")
    with np.errstate(invalid="ignore", over="ignore"):
        away = np.abs(answer.astype(np.float64) - expected)
    wrong = ~(away <= allowed)
    if wrong.any():
        place = tuple(int(each) for each in np.argwhere(wrong)[0])
        raise Rejected(
            f"{name}: at {place} of {answer.shape}, {answer.dtype}, {answer[place]!r} is not {expected[place]!r}"
        )


class Diffusion:
    """Heat that spreads over plates. Every step counts: each point has heat of its own, so nothing of it is smooth."""

    name = "diffusion"
    kinds = (np.dtype("f4"), np.dtype("f8"))
    timed_kinds = ("f4", "f8")

    def size(self, dice):
        """(plates, height, width, steps) of timed questions."""
        return (2, *dice.integers(60, 90, 2), dice.integers(28, 37))

    def other_size(self, dice):
        return (1, *dice.integers(150, 200, 2), dice.integers(10, 15))

    def small_size(self, dice):
        return (2, *dice.integers(2, 40, 2), 5)

    def small_sizes(self, dice):
        widths = [*range(1, GATE_SIZES + 1), *dice.integers(33, 150, LONGER_GATES)]
        heights = [*dice.permutation(GATE_SIZES) + 1, *dice.integers(1, 100, LONGER_GATES)]
        for height, width in zip(heights, widths, strict=True):
            yield dice.integers(1, 4), height, width, dice.integers(0, 7)
        yield 2, 1, 1, 5

    def draw(self, dice, kind, size):
        *shape, steps = size
        heat = 10 ** dice.uniform(-3, 3, (shape[0], 1, 1)) * dice.normal(size=shape)
        conductivity = dice.uniform(0, 0.24, shape).astype(kind)
        return {"heat": heat.astype(kind), "conductivity": conductivity, "steps": np.int64(steps)}

    def denormal(self, dice, kind, size):
        small = 1000 * np.finfo(kind).smallest_subnormal
        return self.draw(dice, kind, size) | {"heat": (small * dice.normal(size=size[:3])).astype(kind)}

    def even(self, dice, kind, size):
        return self.draw(dice, kind, size) | {"heat": np.full(size[:3], dice.normal(), kind)}

    def insulating(self, dice, kind, size):
        inputs = self.draw(dice, kind, size)
        inputs["conductivity"][dice.random(size[:3]) < 0.9] = 0
        return inputs

    def hot(self, dice, kind, size):
        """One plate is so hot that what leaks from it would be seen in all others."""
        inputs = self.draw(dice, kind, size)
        inputs["heat"][-1] *= np.finfo(kind).max / 1e10
        return inputs

    def unmoved(self, dice, kind, size):
        return self.draw(dice, kind, (*size[:3], 0))

    edges = (denormal, even, insulating, hot, unmoved)

    def twins(self, dice, kind):
        """The same plates, of which the last has one other number."""
        first = self.draw(dice, kind, (3, *dice.integers(9, 60, 2), 6))
        second = first | {"heat": first["heat"].copy()}
        row, column = dice.integers(0, first["heat"].shape[1:])
        second["heat"][2, row, column] += 3 * np.abs(first["heat"][2]).max()
        return [first, second]

    def shape(self, inputs):
        return inputs["heat"].shape

    def reference(self, inputs):
        heat, conductivity = inputs["heat"].astype(np.float64), inputs["conductivity"].astype(np.float64)
        for _ in range(inputs["steps"]):
            down = (conductivity[:, 1:] + conductivity[:, :-1]) / 2 * (heat[:, :-1] - heat[:, 1:])
            right = (conductivity[:, :, 1:] + conductivity[:, :, :-1]) / 2 * (heat[:, :, :-1] - heat[:, :, 1:])
            heat = heat.copy()
            heat[:, :-1] -= down
            heat[:, 1:] += down
            heat[:, :, :-1] -= right
            heat[:, :, 1:] += right
        return heat

    def check(self, inputs, answer, own):
        """Within some roundings of a plate's greatest heat for each step."""
        heat, limits = inputs["heat"], np.finfo(inputs["heat"].dtype)
        greatest = np.abs(heat).max(axis=(1, 2), keepdims=True).astype(np.float64)
        rounding = float(limits.eps) * greatest + 2 * float(limits.smallest_subnormal)
        near(self.name, answer, (own, heat), (2 * int(inputs["steps"]) + 1) * rounding)

    def same_but_for_the_last(self, first, second):
        return np.array_equal(first[:-1], second[:-1])

    def work(self, inputs):
        """(bytes that must be moved, operations): two fields in, one out; eleven operations a point and step."""
        return 3 * inputs["heat"].nbytes, 11 * inputs["heat"].size * int(inputs["steps"])


class Attention:
    """Attention of normalised queries and keys. What lies behind a head's length is no number."""

    name = "attention"
    kinds = (np.dtype("f2"), np.dtype("f4"), np.dtype("f8"))
    timed_kinds = ("f4", "f2")

    def size(self, dice):
        """(heads, places, width) of timed questions."""
        return (2, dice.integers(320, 420), dice.integers(24, 41))

    def other_size(self, dice):
        return (1, dice.integers(500, 700), dice.integers(50, 70))

    def small_size(self, dice):
        return (dice.integers(1, 4), *dice.integers(2, 60, 2))

    def small_sizes(self, dice):
        places = [*range(1, GATE_SIZES + 1), *dice.integers(33, 200, LONGER_GATES)]
        widths = [*dice.permutation(GATE_SIZES) + 1, *dice.integers(1, 80, LONGER_GATES)]
        for number, width in zip(places, widths, strict=True):
            yield dice.integers(1, 4), number, width

    def draw(self, dice, kind, size):
        inputs = {name: 10 ** dice.uniform(-1, 1) * dice.normal(size=size) for name in ("queries", "keys", "values")}
        lengths = dice.integers((size[1] + 1) // 2, size[1] + 1, size[0])
        return self.asked(kind, inputs | {"lengths": lengths, "sharpness": dice.uniform(0.5, 3.0, size[0])})

    def asked(self, kind, inputs):
        """The question: in its type, and with no numbers behind the lengths."""
        inputs = inputs | {name: inputs[name].astype(kind) for name in ("queries", "keys", "values")}
        for head, length in enumerate(inputs["lengths"]):
            inputs["keys"][head, length:] = np.nan
            inputs["values"][head, length:] = np.inf
        return inputs

    def sharp(self, dice, kind, size):
        """Scores whose exponential no type holds."""
        return self.draw(dice, kind, size) | {"sharpness": 300 * dice.uniform(1, 2, size[0])}

    def alike(self, dice, kind, size):
        inputs = self.draw(dice, kind, size)
        return self.asked(kind, inputs | {"keys": np.repeat(inputs["keys"][:, :1], size[1], axis=1)})

    def zero(self, dice, kind, size):
        inputs = self.draw(dice, kind, size)
        inputs["queries"][:, ::3] = 0
        inputs["keys"][:, ::4] = 0
        return self.asked(kind, inputs)

    def short(self, dice, kind, size):
        """Almost all places are behind the lengths."""
        inputs = self.draw(dice, kind, size)
        return self.asked(kind, inputs | {"lengths": np.minimum(dice.integers(1, 4, size[0]), inputs["lengths"])})

    def large(self, dice, kind, size):
        """Numbers whose squares the smallest type does not hold."""
        inputs = self.draw(dice, kind, size)
        return self.asked(kind, inputs | {name: 1000 * dice.normal(size=size) for name in ("queries", "keys")})

    edges = (sharp, alike, zero, short, large)

    def twins(self, dice, kind):
        """The same heads, of which the last has one other number among its values."""
        size = (3, *dice.integers(9, 60, 2))
        drawn = {name: dice.normal(size=size) for name in ("queries", "keys", "values")}
        first = drawn | {"lengths": np.array([2, 5, 9]), "sharpness": dice.uniform(0.5, 3.0, 3)}
        second = first | {"values": first["values"].copy()}
        second["values"][2, 0, dice.integers(size[2])] += 50
        return [self.asked(kind, inputs) for inputs in (first, second)]

    def shape(self, inputs):
        return inputs["queries"].shape

    def reference(self, inputs):
        answer = np.empty(inputs["queries"].shape)
        for head, length in enumerate(inputs["lengths"]):
            query, key = (
                rows / np.sqrt(np.square(rows).mean(axis=1, keepdims=True) + 1e-6)
                for rows in (inputs[name][head].astype(np.float64) for name in ("queries", "keys"))
            )
            scores = inputs["sharpness"][head] / np.sqrt(query.shape[1]) * (query @ key[:length].T)
            scores[np.arange(length) > np.arange(len(query))[:, None]] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            answer[head] = weights @ inputs["values"][head, :length].astype(np.float64)
        return answer

    def check(self, inputs, answer, own):
        """Within some roundings of a head's greatest value, more where its scores may be large.

        Halves are to be worked out in singles, and rounded once.
        """
        queries, width = inputs["queries"], inputs["queries"].shape[2]
        last, within = {2: (1e-3, 2e-6), 4: (2e-6, 2e-6), 8: (4e-15, 4e-15)}[queries.itemsize]
        greatest = [np.abs(inputs["values"][head, :length]).max() for head, length in enumerate(inputs["lengths"])]
        allowed = np.array(greatest, np.float64) * (last + within * np.sqrt(width) * inputs["sharpness"])
        near(self.name, answer, (own, queries), allowed[:, None, None])

    def same_but_for_the_last(self, first, second):
        return np.array_equal(first[:-1], second[:-1])

    def work(self, inputs):
        """(bytes that must be moved, operations): three fields in, one out; two products over what a place sees."""
        queries, lengths = inputs["queries"], inputs["lengths"]
        seen = sum(np.minimum(np.arange(queries.shape[1]) + 1, length).sum() for length in lengths)
        return 4 * queries.nbytes, 4 * queries.shape[2] * int(seen)


class TopK:
    """The largest of each row, and where they are; exact."""

    name = "topk"
    kinds = (np.dtype("f4"), np.dtype("f8"), np.dtype("i4"))
    timed_kinds = ("f4", "i4")

    def size(self, dice):
        """(rows, length, count) of timed questions."""
        return (dice.integers(6, 10), dice.integers(3500, 4700), dice.integers(16, 65))

    def other_size(self, dice):
        return (dice.integers(2, 4), dice.integers(10000, 14000), dice.integers(60, 90))

    def small_size(self, dice):
        length = dice.integers(20, 300)
        return (dice.integers(1, 9), length, dice.choice([1, length // 2, length]))

    def small_sizes(self, dice):
        for length in (*range(1, GATE_SIZES + 1), *dice.integers(33, 600, LONGER_GATES)):
            yield dice.integers(1, 9), length, dice.integers(1, length + 1)

    def draw(self, dice, kind, size):
        """Numbers of three kinds, and in each row two that are equal to one of those asked for."""
        rows, length, count = size
        drawn = [dice.normal(size=(rows, length)), dice.random((rows, length)), dice.standard_t(1.5, (rows, length))]
        scores = drawn[dice.integers(3)] * 10 ** dice.uniform(-2, 2) + dice.normal()
        again = np.partition(scores, length - count, axis=1)[:, length - count :]
        scores[np.arange(rows), dice.integers(length, size=(2, rows))] = again[:, dice.integers(count)]
        return self.asked(kind, scores, count)

    def asked(self, kind, scores, count):
        with np.errstate(over="ignore"):
            if kind.kind == "i":
                scores = np.clip(1e6 * scores, -(2.0**31), 2.0**31 - 1)
            return {"scores": scores.astype(kind), "count": np.int64(count)}

    def few(self, dice, kind, size):
        """Most numbers have equals."""
        return self.asked(kind, dice.integers(-3, 4, size[:2]).astype(np.float64), size[2])

    def equal(self, dice, kind, size):
        return self.asked(kind, np.full(size[:2], dice.normal()), size[2])

    def infinite(self, dice, kind, size):
        infinite = np.inf * dice.choice([-1, 1], size[:2])
        return self.asked(kind, np.where(dice.random(size[:2]) < 0.3, infinite, dice.normal(size=size[:2])), size[2])

    def lowest(self, dice, kind, size):
        """Less than what is asked for is above the least there is."""
        scores = np.where(dice.random(size[:2]) < 0.5 * size[2] / size[1], dice.normal(size=size[:2]), -np.inf)
        return self.asked(kind, scores, size[2])

    def zeros(self, dice, kind, size):
        """Both zeros, and little above them."""
        return self.asked(kind, dice.choice([-1.0, -0.0, 0.0, 1e-3], size[:2], p=[0.1, 0.45, 0.449, 0.001]), size[2])

    def denormal(self, dice, kind, size):
        small = np.finfo(kind).smallest_subnormal if kind.kind == "f" else 1e-6
        return self.asked(kind, 1000.0 * small * dice.normal(size=size[:2]), size[2])

    def rising(self, dice, kind, size):
        return self.asked(kind, np.sort(dice.normal(size=size[:2]), axis=1), size[2])

    def falling(self, dice, kind, size):
        return self.asked(kind, -np.sort(dice.normal(size=size[:2]), axis=1), size[2])

    edges = (few, equal, infinite, lowest, zeros, denormal, rising, falling)

    def twins(self, dice, kind):
        """The same rows, of which the last has another one largest number."""
        first = self.draw(dice, kind, (5, dice.integers(50, 600), 9))
        second = first | {"scores": first["scores"].copy()}
        row = second["scores"][-1]
        row[row.argmin()] = row.max()
        return [first, second]

    def shape(self, inputs):
        shape = (len(inputs["scores"]), int(inputs["count"]))
        return {"values": shape, "indices": shape}

    def reference(self, inputs):
        scores = inputs["scores"]
        rising = np.argsort(scores[:, ::-1], axis=1, kind="stable")
        return scores.shape[1] - 1 - rising[:, : -int(inputs["count"]) - 1 : -1]

    def check(self, inputs, answer, own):
        values, indices = answer["values"], answer["indices"]
        if values.dtype != inputs["scores"].dtype or indices.dtype.kind not in "iu":
            raise Rejected(f"topk: values of {inputs['scores'].dtype}, and whole numbers for where they are")
        expected = np.take_along_axis(inputs["scores"], own, axis=1)
        if not (np.array_equal(values, expected) and np.array_equal(indices, own)):
            raise Rejected(f"topk: the {own.shape[1]} largest of {inputs['scores'].shape}, {values.dtype}, are others")

    def same_but_for_the_last(self, first, second):
        return all(np.array_equal(first[name][:-1], second[name][:-1]) for name in ("values", "indices"))

    def work(self, inputs):
        """(bytes that must be moved, operations): each number is read once and compared once."""
        return inputs["scores"].nbytes, inputs["scores"].size


KERNELS = (Diffusion(), Attention(), TopK())
