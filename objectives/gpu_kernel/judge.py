"""The judge: how many operations a second a program's kernels make on a GPU, all of them rightly, by this clock.

It has no GPU. The program has one, and with it the harness (harness.py), in one process with the source, which can
change all of it. So nothing rests on what that process says of itself: it is asked for numbers that only right answers
give, and the time until they are here is taken in this process. Theory of operation:

1. Gates. Each kernel is asked about every length from 1 to 32 of its longest axis, about some longer ones, about each
   case at the edge of its types, and about twins, pairs of questions that differ in one row. These are small: their
   inputs are sent, their answers are read as a whole, and nothing of it is timed.
2. Timed questions have inputs too large to be sent. First the program is told a seed, by which it draws them on the
   GPU, untimed. Then it gets what is small and new, biases and gains or scales and lengths, without which nothing of
   the answer can be worked out; from there to the sums of the answer the clock runs. Sums of absolute values have no
   short cut: whoever has them has worked out the numbers. The program returns those of all rows, and never learns which
   of them are compared. The reference works out these rows alone, from the same seed. Several layers follow each other
   in one question, so that sending it is a small part of the time.
3. Traps: questions of that kind, at the sizes of timed ones, with cases at the edge, and untimed.
4. Yardsticks: the same questions by operators of torch, and what the machine can copy and multiply. They are shown.
   Where both programs of a pair are asked, they must take the same time in both: what a program left running on the GPU
   while it stands still would slow down the other's.

No question is asked twice. The value is useful operations a second: those of the formulas, over the least time of a
cell.
"""

from itertools import pairwise

import numpy as np

# ---- what is asked. Sizes are drawn from these ranges, the last number left out
ROWS, WIDTHS, LAYERS = (3000, 4200), (1700, 2300), 8  # of norm_matmul; two widths, which alternate from layer to layer
FEW_ROWS = (16, 100)  # of its other sizes
HEADS, PLACES, HEAD_WIDTHS, SEQUENCES = (24, 33), (4000, 5200), (64, 128), 3  # of attention
MANY_HEADS, FEW_PLACES = (150, 250), (500, 1100)  # of its other sizes
COPY_BYTES, SQUARE = 1 << 28, 4096  # that the machine is measured by
SPEED_ROUNDS = 12  # of the timed questions; the least time of a cell counts
MOST_ROUNDS = 24  # where the least times of a cell are not near to each other by then
NEAR, NEAR_TIMES = 1.05, 3  # so many times within this factor show what a cell takes when nothing interferes
OTHER_ROUNDS = 6  # of those at other sizes
PLAIN_ROUNDS = 5  # of the yardsticks
MOST_APART = 1.25  # factor between yardsticks of the two programs of a pair
TRAPS = 2  # of each cell
GATE_SIZES, LONGER_GATES = 32, 6  # every length up to this one, and so many longer ones
CHECKED = 8  # places of a timed answer that are compared

# ---- as in harness.py
WHOLE, AHEAD, GO, PLAIN, MACHINE = range(5)
COPY, PRODUCT = range(2)
TYPES = ("f4", "f2", "bf16")
TINY, GROUP = 1e-6, 32

ROUNDING = {"f4": 2.0**-24, "f2": 2.0**-11, "bf16": 2.0**-8}
# How far sums of rows may be from the reference's: relative to the length of what is summed, as a root of the mean
# square over rows; and sums of absolute values, relative to themselves, times the root of how many numbers are summed.
# At least twice what honest roundings come to; float8 differs by more than is allowed (docs/gpu_kernel.md).
SUMS = {"norm_matmul": {"f2": 0.003, "bf16": 0.025}, "attention": {"f2": 0.0015, "bf16": 0.01}}
ABSOLUTE_SUMS = {"f2": 0.04, "bf16": 0.3}
OWN_ANSWERS = {}  # what the reference answered; both programs of a pair are compared with the same
YARDSTICKS = []  # for each program of the session: the least time of the plain way, by cell


class Rejected(Exception):
    """An answer of the program is wrong, or its time cannot be relied on; the text says why."""


def judge(session, seed, split):
    """Score a program. Returns finite numbers by name: "value" is TFLOP/s, a geometric mean over cells."""
    gates = [gate for kernel in KERNELS for gate in gates_of(kernel, session.generator(f"gates {kernel.name}"))]
    order = session.generator("order")
    for place, number in enumerate(order.permutation(len(gates))):
        ask_in_turn(session, *gates[number], f"gate {number}")
        session.progress(0.3 * place / len(gates))
    yardstick = {}
    YARDSTICKS.append(yardstick)
    cells = [cell for kernel in KERNELS for cell in cells_of(kernel, session, yardstick)]
    for turn in range(MOST_ROUNDS + 1):
        asked = [cell for cell in cells if cell.is_asked(turn)]
        if not asked:
            break
        for place, number in enumerate(order.permutation(len(asked))):
            asked[number].ask(session, turn, same_turn=place > 0)
        session.progress(0.3 + 0.7 * min(1, turn / SPEED_ROUNDS))
    refuse_odd_yardsticks(yardstick)
    return metrics(cells, machine(session))


def gates_of(kernel, dice):
    """(kernel, type, questions) for each gate: one question, or twins."""
    for size in kernel.small_sizes(dice):
        kind = dice.choice(TYPES)
        yield kernel, kind, [kernel.draw(dice, kind, size)]
    for kind in TYPES:
        for edge in kernel.edges:
            yield kernel, kind, [edge(kernel, dice, kind, kernel.small_size(dice))]
        yield kernel, kind, kernel.twins(dice, kind)


def cells_of(kernel, session, yardstick):
    dice = session.generator(f"cells {kernel.name}")
    for kind in ("bf16", "f2"):
        yield Cell(kernel, kind, kernel.size(dice), dice, yardstick)
    yield Cell(kernel, "bf16", kernel.other_size(dice), dice, yardstick, other=True)


def ask_in_turn(session, kernel, kind, questions, label):
    """Ask a question, or twins: what lies in the same place of both must have the same answer to the last bit."""
    answers = []
    for number, inputs in enumerate(questions):
        asked = {"about": np.array([WHOLE, kernel.number, TYPES.index(kind)]), **inputs}
        answer = session.ask(asked, shape=kernel.shape(inputs))
        name = f"{label} {number}"
        if name not in OWN_ANSWERS:
            OWN_ANSWERS[name] = kernel.reference(kind, inputs)
        near(f"{kernel.name} in {kind}", answer, *OWN_ANSWERS[name])
        answers.append(answer)
    for first, second in pairwise(answers):
        if not kernel.same_but_for_the_last(first, second):
            raise Rejected(f"{kernel.name}: the same row, beside another one, has another answer")


class Cell:
    """A kernel at one size and type: what is asked there, and the least times it took."""

    def __init__(self, kernel, kind, size, dice, yardstick, other=False):
        self.kernel, self.kind, self.size, self.other, self.yardstick = kernel, kind, size, other, yardstick
        self.label = f"{kernel.name}, {kind}, {'other' if other else 'own'} size"
        self.rounds = OTHER_ROUNDS if other else SPEED_ROUNDS
        turns = dice.choice(np.arange(1, self.rounds + 1), TRAPS, replace=False)
        edges = dice.permutation(len(kernel.traps))
        self.traps = {int(turn): kernel.traps[edge] for turn, edge in zip(turns, edges, strict=True)}
        self.times, self.work = [], kernel.work(size)

    @property
    def seconds(self):
        return min(self.times)

    def is_asked(self, turn):
        """Whether this round is one of its own, or its least times are so far apart that none can be relied on."""
        least = sorted(self.times)[:NEAR_TIMES]
        return turn <= self.rounds or least[-1] > NEAR * least[0]

    def ask(self, session, turn, same_turn=False):
        """One question with numbers of its own. The first of a cell is not timed: a kernel is compiled then."""
        label = f"{self.label}, {turn}"
        dice = session.generator(label)
        seed = int(dice.integers(2**32))
        ahead = [AHEAD, self.kernel.number, TYPES.index(self.kind), seed, *self.size]
        session.ask({"about": np.array(ahead)}, shape=(1,))
        small = self.kernel.small_inputs(dice, self.size)
        asked, shape = {"about": np.array([GO, self.kernel.number]), **small}, self.kernel.sums_shape(self.size)
        if turn == 0:
            answer = session.ask(asked, shape=shape)
        else:
            answer, seconds = session.time(asked, shape=shape, same_turn=same_turn)
            self.times.append(seconds)
        self.compare(session, label, seed, small, answer)
        if turn in self.traps:
            edge, slack = self.traps[turn]
            trap = self.kernel.small_inputs(dice, self.size) | edge(self.kernel, dice, self.size)
            answer = session.ask({"about": np.array([GO, self.kernel.number]), **trap}, shape=shape)
            self.compare(session, f"{label}, trap", seed, trap, answer, slack)
        if turn <= PLAIN_ROUNDS and not self.other:
            plain = {"about": np.array([PLAIN, self.kernel.number]), **self.kernel.small_inputs(dice, self.size)}
            if turn == 0:
                session.ask(plain, shape=shape)
            else:
                _, seconds = session.time(plain, shape=shape, same_turn=True)
                self.yardstick[self.label] = min(seconds, self.yardstick.get(self.label, np.inf))

    def compare(self, session, label, seed, small, answer, slack=1):
        """Refuse an answer whose sums are others than the reference's, at places that no program learns."""
        if label not in OWN_ANSWERS:
            dice = session.generator(f"{label}, compared")
            OWN_ANSWERS[label] = self.kernel.some_sums(dice, self.kind, self.size, seed, small)
        places, absolute, plain, length, summed = OWN_ANSWERS[label]
        found = answer.astype(np.float64)
        limit = slack * ABSOLUTE_SUMS[self.kind] / np.sqrt(summed)
        off = np.abs(self.kernel.at(found, 0, places) / absolute - 1) / limit
        away = (self.kernel.at(found, 1, places) - plain) / length
        off_sums = np.sqrt(np.mean(away**2)) / (slack * SUMS[self.kernel.name][self.kind])
        if not (off.max() <= 1 and off_sums <= 1):  # written so that NaN fails too
            raise Rejected(
                f"{self.label}: sums are {off.max():.3g} times as far from the reference's as they may be where signs "
                f"are left out, and {off_sums:.3g} times where not ('nan': something was not written)"
            )

    def of_roofline(self, bandwidth, rate):
        """The least time in which this GPU could move the bytes or make the operations, over the time it took."""
        moved, operations = self.work
        return max(moved / bandwidth, operations / rate) / self.seconds


def refuse_odd_yardsticks(own):
    """Refuse a program beside which, or in which, the plain way took longer than in the other one of the pair."""
    for other in YARDSTICKS:
        for label in own.keys() & other.keys():
            apart = max(own[label] / other[label], other[label] / own[label])
            if apart > MOST_APART:
                raise Rejected(
                    f"{label}: the same operators of torch took {apart:.2f} times as long in one program as in the "
                    "other, so something else computed on the GPU, or a program changed them"
                )


def machine(session):
    """(bytes a second of a copy, read and written; operations a second of a product of squares in bfloat16)."""
    found = []
    for what, size, work in ((COPY, COPY_BYTES, 2 * COPY_BYTES), (PRODUCT, SQUARE, 2 * SQUARE**3)):
        times = []
        for number in range(6):
            asked = {"about": np.array([MACHINE, what, TYPES.index("bf16"), size, 4, number])}
            if number == 0:
                session.ask(asked, shape=(1,))
            else:
                times.append(session.time(asked, shape=(1,), same_turn=number > 1)[1])
        found.append(4 * work / min(times))
    return found


def metrics(cells, measured):
    bandwidth, rate = measured
    found = {"value": mean([tflops(cell) for cell in cells if not cell.other])}
    for kernel in KERNELS:
        own = [cell for cell in cells if cell.kernel is kernel and not cell.other]
        found[f"{kernel.name} TFLOP/s"] = mean([tflops(cell) for cell in own])
        found[f"{kernel.name} ms"] = 1e3 * mean([cell.seconds / kernel.layers(cell.size) for cell in own])
        found[f"{kernel.name} over torch"] = mean([cell.yardstick[cell.label] / cell.seconds for cell in own])
        found[f"{kernel.name} of roofline"] = mean([cell.of_roofline(bandwidth, rate) for cell in own])
        others = [tflops(cell) for cell in cells if cell.kernel is kernel and cell.other]
        found[f"{kernel.name} other sizes TFLOP/s"] = mean(others)
    return found | {"copy GB/s": bandwidth / 1e9, "product TFLOP/s": rate / 1e12}


def tflops(cell):
    return cell.work[1] / cell.seconds / 1e12


def mean(numbers):
    """The geometric mean."""
    return float(np.exp(np.mean(np.log(numbers))))


def near(name, answer, expected, allowed):
    """Refuse an answer that is anywhere further from the reference than is allowed."""
    with np.errstate(invalid="ignore", over="ignore"):
        wrong = ~(np.abs(answer.astype(np.float64) - expected) <= allowed)
    if wrong.any():
        place = tuple(int(each) for each in np.argwhere(wrong)[0])
        raise Rejected(f"{name}: at {place} of {answer.shape}, {answer[place]!r} is not {expected[place]!r}")


# ---- numbers that both draw ------------------------------------------------------------------------------------------


def mixed(numbers):
    """Whole numbers of 32 bits, each made another one, as in harness.py."""
    numbers = numbers ^ (numbers >> np.uint32(16))
    numbers = numbers * np.uint32(0x7FEB352D)
    numbers = numbers ^ (numbers >> np.uint32(15))
    numbers = numbers * np.uint32(0x846CA68B)
    return numbers ^ (numbers >> np.uint32(16))


def drawn(kind, seed, number, places):
    """The numbers at these places of what the harness draws by this seed and number, in float32."""
    stream = mixed(np.array([seed ^ (number * 0x9E3779B9 & 0xFFFFFFFF)], np.uint32))
    numbers = (mixed(places.astype(np.uint32) ^ stream) >> np.uint32(8)).astype(np.float32)
    return rounded(kind, (numbers - np.float32(2**23)) / np.float32(2**23))


def rounded(kind, numbers):
    """Float32 as it is in a smaller type: the nearest, of two the even one. As float32 again."""
    numbers = np.ascontiguousarray(numbers, np.float32)
    if kind == "f4":
        return numbers
    if kind == "f2":
        with np.errstate(over="ignore"):
            return numbers.astype(np.float16).astype(np.float32)
    bits = numbers.view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    upper = ((bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)).view(np.float32)
    return np.where(np.isfinite(numbers), upper, numbers)


# ---- the kernels -----------------------------------------------------------------------------------------------------


class NormMatmul:
    """Rows with a bias, divided by the root of their mean square and multiplied by a gain, times weights."""

    name, number = "norm_matmul", 0

    def size(self, dice):
        """(rows, first and second width, layers) of timed questions."""
        return (*dice.integers(*ROWS, 1), *dice.integers(*WIDTHS, 2), LAYERS)

    def other_size(self, dice):
        return (*dice.integers(*FEW_ROWS, 1), *dice.integers(*WIDTHS, 2), LAYERS)

    def layers(self, size):
        return size[3]

    def small_size(self, dice):
        """(rows, width, columns)"""
        return tuple(dice.integers(2, 100, 3))

    def small_sizes(self, dice):
        widths = [*range(1, GATE_SIZES + 1), *dice.integers(33, 600, LONGER_GATES)]
        for place, width in enumerate(widths):
            yield 1 + place % 3 * int(dice.integers(1, 70)), width, int(dice.integers(1, 150))
        yield 1, 1, 1

    def draw(self, dice, kind, size):
        rows, width, columns = size
        return self.asked(
            kind,
            x=10 ** dice.uniform(-2, 2, (rows, 1)) * dice.normal(size=(rows, width)),
            bias=dice.normal(size=width),
            gain=dice.normal(size=width),
            weight=dice.normal(size=(width, columns)) / np.sqrt(width),
        )

    def asked(self, kind, x, bias, gain, weight):
        """The question, in float32, its numbers such as the type has them."""
        small = {"bias": bias.astype(np.float32), "gain": gain.astype(np.float32)}
        return {"x": rounded(kind, x), "weight": rounded(kind, weight), **small}

    def large(self, dice, kind, size):
        """Numbers whose squares the smallest type does not hold."""
        inputs = self.draw(dice, kind, size)
        return inputs | {"x": rounded(kind, 3e4 * dice.uniform(-1, 1, inputs["x"].shape))}

    def zero(self, dice, kind, size):
        inputs = self.draw(dice, kind, size)
        inputs["x"][::2] = 0
        return inputs | {"bias": np.zeros_like(inputs["bias"])}

    def tiny(self, dice, kind, size):
        """Rows so small that what is added to their mean square counts."""
        inputs = self.draw(dice, kind, size)
        return inputs | {"x": rounded(kind, 1e-3 * inputs["x"]), "bias": inputs["bias"] * np.float32(1e-3)}

    def uneven(self, dice, kind, size):
        """One number of a row is larger than all others together."""
        inputs = self.draw(dice, kind, size)
        inputs["x"][:, dice.integers(size[1])] = 3000
        return inputs

    edges = (large, zero, tiny, uneven)

    def twins(self, dice, kind):
        first = self.draw(dice, kind, (40, int(dice.integers(20, 200)), 50))
        second = first | {"x": first["x"].copy()}
        second["x"][-1, 0] += 3
        second["x"] = rounded(kind, second["x"])
        return [first, second]

    def shape(self, inputs):
        return len(inputs["x"]), inputs["weight"].shape[1]

    def same_but_for_the_last(self, first, second):
        return np.array_equal(first[:-1], second[:-1])

    def reference(self, kind, inputs):
        """(the answer, how far its numbers may be away): two roundings of each product, and one of their sum."""
        rows = normalised(*(inputs[name].astype(np.float64) for name in ("x", "bias", "gain")))
        weight = inputs["weight"].astype(np.float64)
        answer, lengths = rows @ weight, np.sqrt(np.square(rows) @ np.square(weight))
        step = ROUNDING[kind]
        return answer, step * (2 * np.abs(answer) + (8 if kind != "f4" else 60) * lengths) + 1e-7 * lengths + 1e-30

    def small_inputs(self, dice, size):
        """Gains of very different size: so roots of mean squares differ from row to row in every layer."""
        _, first, second, layers = size
        shape = layers, max(first, second)
        gain = np.exp(dice.normal(size=shape)) * dice.choice([-1, 1], shape)
        bias = 0.5 * dice.normal(size=shape)
        return {"bias": bias.astype(np.float32), "gain": (gain / np.sqrt(shape[1])).astype(np.float32)}

    def sums_shape(self, size):
        return 2, size[0]

    def some_sums(self, dice, kind, size, seed, small):
        """(rows that are compared, sums of their absolute values, plain sums, lengths of the rows, numbers in each)"""
        rows, first, second, layers = size
        places = np.sort(dice.choice(rows, min(CHECKED, rows), replace=False))
        widths = [(first, second)[layer % 2] for layer in range(layers + 1)]
        x = drawn(kind, seed, 0, places[:, None] * first + np.arange(first)).astype(np.float64)
        for layer, (width, columns) in enumerate(pairwise(widths)):
            weight = drawn(kind, seed, 1 + layer, np.arange(width * columns, dtype=np.uint32)).reshape(width, columns)
            bias, gain = small["bias"][layer, :width], small["gain"][layer, :width]
            x = normalised(x, bias, gain) @ weight.astype(np.float64)
        return places, np.abs(x).sum(axis=1), x.sum(axis=1), np.sqrt(np.square(x).sum(axis=1)), x.shape[1]

    def at(self, answer, which, places):
        return answer[which, places]

    def faint(self, dice, size):
        """Biases beside which the rows are small."""
        return {"bias": (100 * dice.normal(size=(size[3], max(size[1:3])))).astype(np.float32)}

    def bare(self, dice, size):
        return {"bias": np.zeros((size[3], max(size[1:3])), np.float32)}

    traps = ((faint, 1), (bare, 1))  # and how many times further off their sums may be

    def work(self, size):
        """(bytes that must be moved, operations) of all layers."""
        rows, first, second, layers = size
        weights = layers * first * second
        outs = sum(rows * (second, first)[layer % 2] for layer in range(layers))
        return 2 * (rows * first + weights + 2 * outs - outs // layers), 2 * rows * weights


def normalised(x, bias, gain):
    shifted = x + bias
    return shifted / np.sqrt(np.square(shifted).mean(axis=1, keepdims=True) + TINY) * gain


class Attention:
    """Causal attention of scaled queries over a sequence whose end is padding."""

    name, number = "attention", 1

    def size(self, dice):
        """(heads, places, width of a head, layers) of timed questions."""
        return (*dice.integers(*HEADS, 1), *dice.integers(*PLACES, 1), dice.choice(HEAD_WIDTHS), SEQUENCES)

    def other_size(self, dice):
        return (*dice.integers(*MANY_HEADS, 1), *dice.integers(*FEW_PLACES, 1), dice.choice(HEAD_WIDTHS), SEQUENCES)

    def layers(self, size):
        return size[3]

    def small_size(self, dice):
        """(heads, places, width)"""
        return 2, int(dice.integers(20, 120)), int(dice.choice([16, 40, 64, 128]))

    def small_sizes(self, dice):
        for places in (*range(1, GATE_SIZES + 1), *dice.integers(33, 300, LONGER_GATES)):
            yield int(dice.integers(1, 4)), int(places), int(dice.choice([1, 16, 40, 64, 100, 128]))

    def draw(self, dice, kind, size, sharpness=None):
        heads, places, width = size
        sharpness = dice.uniform(0.5, 3) if sharpness is None else sharpness
        drawn = {name: dice.normal(size=size) for name in ("query", "key", "value")}
        scale = sharpness * dice.uniform(0.5, 1.5, (heads, width)) / np.sqrt(width)
        return self.asked(kind, drawn | {"scale": scale, "length": dice.integers(1, places + 1)})

    def asked(self, kind, inputs):
        """The question, its numbers such as the type has them, and none behind the length."""
        asked = {name: rounded(kind, inputs[name]) for name in ("query", "key", "value")}
        length = np.int64(inputs["length"])
        asked["key"][:, length:], asked["value"][:, length:] = np.nan, np.inf
        return {**asked, "scale": inputs["scale"].astype(np.float32), "length": length}

    def sharp(self, dice, kind, size):
        """Scores whose exponentials no type holds."""
        return self.draw(dice, kind, size, sharpness=150)

    def alike(self, dice, kind, size):
        inputs = self.draw(dice, kind, size)
        return self.asked(kind, inputs | {"key": np.repeat(inputs["key"][:, :1], size[1], axis=1)})

    def zero(self, dice, kind, size):
        inputs = self.draw(dice, kind, size)
        inputs["query"][:, ::3] = 0
        return self.asked(kind, inputs)

    def short(self, dice, kind, size):
        inputs = self.draw(dice, kind, size)
        return self.asked(kind, inputs | {"length": np.int64(min(dice.integers(1, 4), inputs["length"]))})

    def large(self, dice, kind, size):
        """Queries and keys whose products the smallest type does not hold."""
        heads, places, width = size
        large = {name: 300 * dice.normal(size=size) for name in ("query", "key")}
        scale = dice.uniform(1e-5, 3e-5, (heads, width))
        return self.asked(kind, {"value": dice.normal(size=size), **large, "scale": scale, "length": places})

    edges = (sharp, alike, zero, short, large)

    def twins(self, dice, kind):
        """The same, but for a value that the last place alone sees."""
        size = 2, int(dice.integers(20, 150)), 64
        first = self.draw(dice, kind, size) | {"length": np.int64(size[1])}
        for name in ("key", "value"):
            first[name] = rounded(kind, dice.normal(size=size))
        second = first | {"value": first["value"].copy()}
        second["value"][:, -1, 0] += 50
        second["value"] = rounded(kind, second["value"])
        return [first, second]

    def shape(self, inputs):
        return inputs["query"].shape

    def same_but_for_the_last(self, first, second):
        return np.array_equal(first[:, :-1], second[:, :-1])

    def reference(self, kind, inputs):
        """(the answer, how far its numbers may be away): more where scores are large, as their roundings are."""
        answers, allowed, step = [], [], ROUNDING[kind]
        for head in range(len(inputs["query"])):
            fields = (inputs[name][head].astype(np.float64) for name in ("query", "key", "value"))
            answer, weighed, lengths = attended(*fields, inputs["scale"][head], int(inputs["length"]), 0)
            answers.append(answer)
            allowed.append(step * (6 + (6 if kind != "f4" else 30) * lengths) * weighed + 1e-30)
        return np.array(answers), np.array(allowed)

    def small_inputs(self, dice, size):
        heads, places, width, layers = size
        scale = dice.uniform(3, 9, (layers, heads, 1)) * np.exp(0.3 * dice.normal(size=(layers, heads, width)))
        return {
            "scale": (scale / np.sqrt(width)).astype(np.float32),
            "lengths": dice.integers(places - places // 8, places + 1, layers),
            "weights": dice.uniform(0.5, 1.5, GROUP).astype(np.float32),
        }

    def sums_shape(self, size):
        heads, places, _, layers = size
        return layers, 2, heads, -(-places // GROUP)

    def some_sums(self, dice, kind, size, seed, small):
        """(groups of rows that are compared, sums of absolute values, plain sums, lengths, numbers in each)"""
        heads, count, width, layers = size
        groups = -(-count // GROUP)
        places = np.array([dice.integers((layers, heads, groups)) for _ in range(CHECKED)])
        found = []
        for layer, head, group in places:
            begin, end = group * GROUP, min(count, (group + 1) * GROUP)
            field = head * count * width + np.arange(count * width, dtype=np.uint32)
            query, key, value = (
                drawn(kind, seed, 3 * layer + each, field).reshape(count, width).astype(np.float64) for each in range(3)
            )
            scale, length = small["scale"][layer, head], int(small["lengths"][layer])
            answer = attended(query[begin:end], key, value, scale, length, begin)[0]
            weights = small["weights"][: end - begin].astype(np.float64)
            length = np.sqrt(np.square(weights) @ np.square(answer).sum(axis=1))
            absolute, plain = (weights @ each.sum(axis=1) for each in (np.abs(answer), answer))
            found.append((absolute, plain, length, answer.size))
        return places, *np.array(found).T

    def at(self, answer, which, places):
        return answer[places[:, 0], which, places[:, 1], places[:, 2]]

    def hard(self, dice, size):
        """Scores whose exponentials no type holds, so that almost all weight is on one key."""
        heads, _, width, layers = size
        scale = dice.uniform(200, 300, (layers, heads, width)) / np.sqrt(width)
        return {"scale": scale.astype(np.float32)}

    def padded(self, dice, size):
        return {"lengths": dice.integers(1, 40, size[3])}

    traps = ((hard, 10), (padded, 1))

    def work(self, size):
        """(bytes that must be moved, operations) of all layers: three fields in, one out; two products over what is
        seen.

        As if nothing were padding, of which there is an eighth at most.
        """
        heads, places, width, layers = size
        return layers * 8 * heads * places * width, layers * 4 * heads * width * (places * (places + 1) // 2)


def attended(query, key, value, scale, length, begin):
    """(answers of places from `begin` on, the same of absolute values, the lengths of their scores), in float64.

    The length of a score is that of the row of products whose sum it is, of each place the greatest: by so many
    roundings of one product a score may be away.
    """
    scores = (query * scale) @ key[:length].T
    lengths = np.sqrt(np.square(query * scale) @ np.square(key[:length]).T)
    seen = np.arange(length) <= begin + np.arange(len(query))[:, None]
    scores[~seen] = -np.inf
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    greatest = np.where(seen, lengths, 0).max(axis=1, keepdims=True)
    return weights @ value[:length], weights @ np.abs(value[:length]), greatest


KERNELS = (NormMatmul(), Attention())
