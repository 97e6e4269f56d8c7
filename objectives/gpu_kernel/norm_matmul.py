"""Rows that get a bias, are divided by the root of their mean square and multiplied by a gain, times a matrix of
weights.

    x        (rows, width), float32, float16 or bfloat16
    bias     (width,), float32
    gain     (width,), float32
    weight   (width, columns), in the type of x
    out      (rows, columns), the same: where the answer is to be; NaN lies there

out = ((x + bias) / sqrt(mean((x + bias)²) + TINY) * gain) @ weight. Sums and roots in float32; where x is of a smaller
type, rows may be rounded to it before they are multiplied. Products of float32 are to be exact to its digits, so no
TF32.
"""

import torch
import triton
import triton.language as tl

TINY = 1e-6  # belongs to the task
BLOCK_ROWS = 64  # of a tile of the answer
BLOCK_COLUMNS = 64
BLOCK_WIDTH = 32  # of x and weight in one step
WARPS = 4
STAGES = 2


def norm_matmul(x, bias, gain, weight, out):
    rows, width = x.shape
    columns = weight.shape[1]
    normalised = torch.empty_like(x)
    normalise[(rows,)](x, bias, gain, normalised, width, TINY, BLOCK=triton.next_power_of_2(width))
    grid = (triton.cdiv(rows, BLOCK_ROWS), triton.cdiv(columns, BLOCK_COLUMNS))
    multiply[grid](
        normalised, weight, out, rows, columns, width,
        BLOCK_ROWS=BLOCK_ROWS, BLOCK_COLUMNS=BLOCK_COLUMNS, BLOCK_WIDTH=BLOCK_WIDTH,
        num_warps=WARPS, num_stages=STAGES,
    )  # fmt: skip


@triton.jit
def normalise(x, bias, gain, normalised, width, tiny, BLOCK: tl.constexpr):
    """One row."""
    row = tl.program_id(0).to(tl.int64)
    places = tl.arange(0, BLOCK)
    inside = places < width
    numbers = tl.load(x + row * width + places, mask=inside, other=0.0).to(tl.float32)
    numbers += tl.load(bias + places, mask=inside, other=0.0)
    mean_square = tl.sum(numbers * numbers, axis=0) / width
    numbers = numbers / tl.sqrt(mean_square + tiny) * tl.load(gain + places, mask=inside, other=0.0)
    tl.store(normalised + row * width + places, numbers.to(normalised.dtype.element_ty), mask=inside)


@triton.jit
def multiply(
    left, right, out, rows, columns, width,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_WIDTH: tl.constexpr,
):  # fmt: skip
    """One tile of the product of left (rows, width) and right (width, columns)."""
    row = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    column = tl.program_id(1) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    for begin in range(0, width, BLOCK_WIDTH):
        place = begin + tl.arange(0, BLOCK_WIDTH)
        first = tl.load(
            left + row[:, None] * width + place[None, :],
            mask=(row[:, None] < rows) & (place[None, :] < width), other=0.0,
        )  # fmt: skip
        second = tl.load(
            right + place[:, None] * columns + column[None, :],
            mask=(place[:, None] < width) & (column[None, :] < columns), other=0.0,
        )  # fmt: skip
        total += tl.dot(first, second, input_precision="ieee")
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    tl.store(out + row[:, None] * columns + column[None, :], total.to(out.dtype.element_ty), mask=inside)
