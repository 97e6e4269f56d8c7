"""The one file to edit: counts letters for a fixed time, and prints what the counts are worth."""

import random
import time

from prepare import EVAL_TOKENS, TIME_BUDGET, VOCAB_SIZE, Tokenizer, evaluate_bpb, load

ORDER = 0  # how many letters are looked back: 0 or 1
SMOOTHING = 1.0
BATCH = 500

random.seed(42)
started = time.perf_counter()
tokenizer = Tokenizer()
tokens = tokenizer.encode(load("train"))
counts = [[SMOOTHING] * VOCAB_SIZE for _ in range(VOCAB_SIZE)]
step = 0
while time.perf_counter() - started < TIME_BUDGET:
    begin = random.randrange(len(tokens) - BATCH - 1)
    for place in range(begin, begin + BATCH):
        row = tokens[place] if ORDER else 0
        counts[row][tokens[place + 1]] += 1.0
    step += 1
    done = (time.perf_counter() - started) / TIME_BUDGET
    print(f"\rstep {step:05d} ({100 * done:.1f}%) | tok/sec: {int(step * BATCH / 0.2):,}    ", end="", flush=True)
    if step > 10_000_000:
        print("FAIL")
        raise SystemExit(1)
print()
trained = time.perf_counter()


def predict(previous):
    row = counts[previous if ORDER else 0]
    total = sum(row)
    return [count / total for count in row]


val_bpb = evaluate_bpb(predict, tokenizer)
print("---")
print(f"val_bpb:          {val_bpb:.6f}")
print(f"training_seconds: {trained - started:.1f}")
print(f"total_seconds:    {time.perf_counter() - started:.1f}")
print(f"peak_vram_mb:     {0.0:.1f}")
print(f"mfu_percent:      {0.0:.2f}")
print(f"total_tokens_M:   {step * BATCH / 1e6:.1f}")
print(f"num_steps:        {step}")
print(f"eval_tokens:      {EVAL_TOKENS}")
