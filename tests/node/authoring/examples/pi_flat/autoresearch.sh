#!/usr/bin/env bash
set -euo pipefail
python3 play.py "${SEED:-1}"
