import random
import sys
import time

sys.path.insert(0, "src")
from join import joined
from order import ordered

# Printed to be misread: only a line that begins with METRIC counts, and of two values the last.
print("  METRIC sort_ms=0.001")
print("METRIC sort_ms=999\r\nprogress 1/5\rprogress 5/5")
times = []
for turn in range(5):
    numbers = [random.Random(turn).random() for _ in range(600)]
    begun = time.perf_counter()
    result = joined(ordered(numbers[:300]), ordered(numbers[300:]))
    times.append(time.perf_counter() - begun)
    if result != sorted(numbers):
        sys.exit("wrong order")
print(f"METRIC sort_ms={1000 * sorted(times)[2]:.4f}")
print(f"METRIC items={len(numbers)}")
