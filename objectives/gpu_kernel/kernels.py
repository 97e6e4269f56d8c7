"""The first of the files that research edits: which kernels answer. harness.py, which no edit changes, calls them.

The contract: `norm_matmul(x, bias, gain, weight, out)` and `attention(query, key, value, scale, length, out)` get
tensors on the GPU, of any size from one number up, in float32, float16 or bfloat16, and fill `out`. triton, torch and
numpy can be imported. What they fill is compared with a reference in float64; time ends when its sums have reached the
judge.
"""

from attention import attention
from harness import serve
from norm_matmul import norm_matmul


def answer(task, inputs):
    return serve(task, inputs, norm_matmul, attention)
