#!/usr/bin/env bash
# Times the sorting of a fixed list, several times, and prints the median.
set -euo pipefail
python3 .auto/bench.py
