"""Causal attention in several heads, of queries that are scaled first, over a sequence whose end is padding.

    query, key, value   (heads, places, width), float32, float16 or bfloat16; width is at most 128
    scale               (heads, width), float32: what the numbers of a head's queries are multiplied by
    length              a number from 1 to places: what lies in key and value from there on is padding, perhaps NaN
    out                 like the queries: where the answer is to be; NaN lies there

A place sees the keys up to its own, as far as they are no padding. Its scores are the products of its scaled query with
them, its weights their softmax, its answer the mean of the values by these. Sums and exponentials in float32; where the
type is smaller, scaled queries and weights may be rounded to it. Products of float32 are to be exact to its digits, so
no TF32.
"""

import triton
import triton.language as tl

BLOCK_QUERIES = 64
BLOCK_KEYS = 32
QUERY_WARPS = 4
KEY_STAGES = 2


def attention(query, key, value, scale, length, out):
    heads, places, width = query.shape
    attend[(triton.cdiv(places, BLOCK_QUERIES), heads)](
        query, key, value, scale, out, places, length, width,
        BLOCK_QUERIES=BLOCK_QUERIES, BLOCK_KEYS=BLOCK_KEYS, BLOCK_WIDTH=max(16, triton.next_power_of_2(width)),
        num_warps=QUERY_WARPS, num_stages=KEY_STAGES,
    )  # fmt: skip


@triton.jit
def attend(
    query, key, value, scale, out, places, length, width,
    BLOCK_QUERIES: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_WIDTH: tl.constexpr,
):  # fmt: skip
    """A block of queries of one head over all keys, with a running greatest score (Milakov, Gimelshein 2018)."""
    head = tl.program_id(1).to(tl.int64) * places * width
    place = tl.program_id(0) * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    wide = tl.arange(0, BLOCK_WIDTH)
    asked = (place[:, None] < places) & (wide[None, :] < width)
    scaled = tl.load(query + head + place[:, None] * width + wide[None, :], mask=asked, other=0.0).to(tl.float32)
    scaled *= tl.load(scale + tl.program_id(1) * width + wide, mask=wide < width, other=0.0)[None, :]
    scaled = scaled.to(query.dtype.element_ty)
    greatest = tl.full((BLOCK_QUERIES,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_QUERIES,), tl.float32)
    answer = tl.zeros((BLOCK_QUERIES, BLOCK_WIDTH), tl.float32)
    for begin in range(0, length, BLOCK_KEYS):
        other = begin + tl.arange(0, BLOCK_KEYS)
        there = (other[:, None] < length) & (wide[None, :] < width)
        keys = tl.load(key + head + other[:, None] * width + wide[None, :], mask=there, other=0.0)
        scores = tl.dot(scaled, tl.trans(keys), input_precision="ieee")
        seen = (other[None, :] <= place[:, None]) & (other[None, :] < length)
        scores = tl.where(seen, scores, float("-inf"))
        larger = tl.maximum(greatest, tl.max(scores, axis=1))
        weights = tl.exp(scores - larger[:, None])
        shrunk = tl.exp(greatest - larger)
        total = total * shrunk + tl.sum(weights, axis=1)
        values = tl.load(value + head + other[:, None] * width + wide[None, :], mask=there, other=0.0)
        products = tl.dot(weights.to(value.dtype.element_ty), values, input_precision="ieee")
        answer = answer * shrunk[:, None] + products
        greatest = larger
    answer = answer / total[:, None]
    tl.store(out + head + place[:, None] * width + wide[None, :], answer.to(out.dtype.element_ty), mask=asked)
