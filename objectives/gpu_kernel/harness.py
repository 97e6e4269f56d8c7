"""What stands between the judge and the kernels, in their process: it draws large inputs, calls a kernel, returns sums.

No edit changes it, but a source shares its process, so the judge believes nothing of it (judge.py says why it need
not). `inputs["about"]` says what is asked, in whole numbers; other arrays are what is too small to be drawn here.

    WHOLE, kernel, type                            inputs as arrays; the answer is all of `out`, in float32
    AHEAD, kernel, type, seed, *size               inputs are drawn by the seed and stay on the GPU; `out` is NaN
    GO, kernel                                     one or more calls on what was drawn; the answer is sums of `out`
    PLAIN, kernel                                  the same by operators of torch
    MACHINE, COPY or PRODUCT, type, size, times, n a copy of so many bytes, or a product of squares; n is only a number

A kernel is called once for each layer. The answer of one layer of `norm_matmul` is the input of the next; those of
`attention` are by themselves.
"""

import numpy as np
import torch
from torch.nn import functional as F

WHOLE, AHEAD, GO, PLAIN, MACHINE = range(5)
NORM_MATMUL, ATTENTION = range(2)
COPY, PRODUCT = range(2)
TYPES = (torch.float32, torch.float16, torch.bfloat16)
TINY = 1e-6  # belongs to the task: is added to a mean square
GROUP = 32  # rows of attention whose sums are one number
ONES = 0xFFFFFFFF
PIECE = 1 << 24  # numbers that are drawn at once
STATE = {}  # what was drawn ahead, and the arrays by which the machine is measured


def serve(task, inputs, norm_matmul, attention):
    """The answer to a question, an array."""
    action, *about = (int(number) for number in inputs["about"])
    kernels = {NORM_MATMUL: norm_matmul, ATTENTION: attention}
    if action == WHOLE:
        return whole(task, inputs, about, kernels[about[0]])
    if action == AHEAD:
        STATE["drawn"] = None
        STATE["drawn"] = DRAW[about[0]](task, TYPES[about[1]], *about[2:])
        return finished(task)
    if action == MACHINE:
        return machine(task, *about)
    kernel = kernels[about[0]] if action == GO else PLAINLY[about[0]]
    return CALL[about[0]](task, inputs, kernel, *STATE["drawn"])


def finished(task):
    """One number, once the GPU has done all it was asked."""
    if task.device.type == "cuda":
        torch.cuda.synchronize()
    return np.zeros(1, np.float32)


def on_device(task, array, dtype=torch.float32):
    return torch.from_numpy(np.ascontiguousarray(array)).to(task.device).to(dtype)


def empty(task, dtype, *shape):
    """A place for an answer: nothing of an earlier one lies there, but NaN."""
    return torch.full(shape, float("nan"), dtype=dtype, device=task.device)


def whole(task, inputs, about, kernel):
    dtype = TYPES[about[1]]
    if about[0] == NORM_MATMUL:
        x, weight = (on_device(task, inputs[name], dtype) for name in ("x", "weight"))
        out = empty(task, dtype, len(x), weight.shape[1])
        kernel(x, on_device(task, inputs["bias"]), on_device(task, inputs["gain"]), weight, out)
    else:
        query, key, value = (on_device(task, inputs[name], dtype) for name in ("query", "key", "value"))
        out = empty(task, dtype, *query.shape)
        kernel(query, key, value, on_device(task, inputs["scale"]), int(inputs["length"]), out)
    return out.float().cpu().numpy()


# ---- inputs that are drawn here --------------------------------------------------------------------------------------


def mixed(numbers):
    """Whole numbers of 32 bits, each made another one (a finaliser of Wellons, "lowbias32"). Tensors of int64."""
    numbers = numbers ^ (numbers >> 16)
    numbers = (numbers * 0x7FEB352D) & ONES
    numbers = numbers ^ (numbers >> 15)
    numbers = (numbers * 0x846CA68B) & ONES
    return numbers ^ (numbers >> 16)


def drawn(task, dtype, seed, number, *shape):
    """Numbers between -1 and 1 that follow from seed and number alone; judge.py draws the same."""
    stream = int(mixed(torch.tensor(seed ^ ((number * 0x9E3779B9) & ONES))))
    out = torch.empty(shape, dtype=dtype, device=task.device)
    flat = out.view(-1)
    for begin in range(0, flat.numel(), PIECE):
        places = torch.arange(begin, min(begin + PIECE, flat.numel()), device=task.device)
        flat[begin : begin + PIECE] = ((mixed(places ^ stream) >> 8).float() - 2**23) / 2**23
    return out


def draw_norm_matmul(task, dtype, seed, rows, first, second, layers):
    widths = [(first, second)[layer % 2] for layer in range(layers + 1)]
    x = drawn(task, dtype, seed, 0, rows, first)
    weights = [drawn(task, dtype, seed, 1 + layer, *widths[layer : layer + 2]) for layer in range(layers)]
    return x, weights, [empty(task, dtype, rows, width) for width in widths[1:]]


def draw_attention(task, dtype, seed, heads, length, width, layers):
    shape = heads, length, width
    fields = [[drawn(task, dtype, seed, 3 * layer + each, *shape) for each in range(3)] for layer in range(layers)]
    return fields, [empty(task, dtype, *shape) for _ in range(layers)]


# ---- calls -----------------------------------------------------------------------------------------------------------


def call_norm_matmul(task, inputs, kernel, x, weights, outs):
    bias, gain = on_device(task, inputs["bias"]), on_device(task, inputs["gain"])
    for layer, (weight, out) in enumerate(zip(weights, outs, strict=True)):
        width = len(weight)
        kernel(x, bias[layer, :width], gain[layer, :width], weight, out)
        x = out
    return torch.stack(sums(x)).cpu().numpy()


def call_attention(task, inputs, kernel, fields, outs):
    scale, weights = on_device(task, inputs["scale"]), on_device(task, inputs["weights"])
    for layer, ((query, key, value), out) in enumerate(zip(fields, outs, strict=True)):
        kernel(query, key, value, scale[layer], int(inputs["lengths"][layer]), out)
    return torch.stack([torch.stack([grouped(each, weights) for each in sums(out)]) for out in outs]).cpu().numpy()


def sums(out):
    """Of each row the sum of its numbers, and that of what is left of them without their signs."""
    return torch.linalg.vector_norm(out, 1, dim=-1, dtype=torch.float32), out.sum(-1, dtype=torch.float32)


def grouped(rows, weights):
    """Sums of GROUP rows each, by weights."""
    padded = F.pad(rows, (0, -rows.shape[-1] % GROUP))
    return padded.view(*rows.shape[:-1], -1, GROUP) @ weights


def plain_norm_matmul(x, bias, gain, weight, out):
    rows = F.rms_norm(x.float() + bias, bias.shape, gain, TINY)
    torch.matmul(rows.to(x.dtype), weight, out=out)


def plain_attention(query, key, value, scale, length, out):
    places = torch.arange(query.shape[1], device=query.device)
    seen = (places[:, None] >= places) & (places < length)
    scaled = (query * scale[:, None]).to(query.dtype)
    out.copy_(F.scaled_dot_product_attention(scaled[None], key[None], value[None], attn_mask=seen, scale=1.0)[0])


DRAW = {NORM_MATMUL: draw_norm_matmul, ATTENTION: draw_attention}
CALL = {NORM_MATMUL: call_norm_matmul, ATTENTION: call_attention}
PLAINLY = {NORM_MATMUL: plain_norm_matmul, ATTENTION: plain_attention}


def machine(task, what, kind, size, times, _):
    """Copies, or products, one after the other; what they work on is made when it is first asked for."""
    key = what, kind, size
    if key not in STATE:
        shape = (size // 4,) if what == COPY else (size, size)
        dtype = torch.float32 if what == COPY else TYPES[kind]
        STATE[key] = torch.ones(shape, dtype=dtype, device=task.device)
        STATE[*key, "out"] = torch.empty_like(STATE[key])
    source, out = STATE[key], STATE[*key, "out"]
    for _time in range(times):
        if what == COPY:
            out.copy_(source)
        else:
            torch.matmul(source, source, out=out)
    return finished(task)
