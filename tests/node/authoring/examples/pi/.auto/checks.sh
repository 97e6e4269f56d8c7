#!/usr/bin/env bash
set -euo pipefail
python3 tests/test_order.py
