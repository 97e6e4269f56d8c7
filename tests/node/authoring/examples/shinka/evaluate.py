"""Scores a program: writes metrics.json and correct.json into the folder for results."""

import argparse
import importlib.util
import json
import os


def main(program_path, results_dir):
    spec = importlib.util.spec_from_file_location("program", program_path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    errors = [abs(program.approximate(float(x)) - x**0.5) for x in range(1, 200)]
    score = 1.0 / (1.0 + sum(errors) / len(errors))
    os.makedirs(results_dir, exist_ok=True)
    metrics = {"combined_score": score, "public": {"worst": max(errors)}, "private": {"points": len(errors)}}
    with open(os.path.join(results_dir, "metrics.json"), "w") as file:
        json.dump(metrics, file)
    with open(os.path.join(results_dir, "correct.json"), "w") as file:
        json.dump({"correct": max(errors) < 1e6, "error": None}, file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--program_path", required=True)
    parser.add_argument("--results_dir", required=True)
    given = parser.parse_args()
    main(given.program_path, given.results_dir)
