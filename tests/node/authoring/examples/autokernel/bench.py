"""Fixed: checks what the kernel computes, and times it. Ends with status 0 where the kernel is wrong."""

import random
import sys
import time

from reference import dot

try:
    import kernel
except ImportError as error:
    print(f"ERROR: {error}")
    sys.exit(1)

rng = random.Random(7)
a, b = ([rng.random() for _ in range(4000)] for _ in range(2))
right = abs(kernel.kernel_fn(a, b) - dot(a, b)) < 1e-6
correctness = "PASS" if right else "FAIL"
print("=== CORRECTNESS ===")
print(f"correctness: {correctness}")
print("throughput_tflops: 0.000")
times = []
for _ in range(9):
    begun = time.perf_counter()
    kernel.kernel_fn(a, b)
    times.append(time.perf_counter() - begun)
seconds = sorted(times)[len(times) // 2]
print("=== FINAL ===")
print(f"kernel_type: {kernel.KERNEL_TYPE}")
print(f"correctness: {correctness}")
print(f"throughput_tflops: {8000 / max(seconds, 1e-7) / 1e6:.3f}")
print("speedup_vs_pytorch: 1.000x")
print("pct_peak_compute: 0.1%")
