"""Scores a program: near 1 where it finds the lowest point."""

import importlib.util
import math

from openevolve.evaluation_result import EvaluationResult


def line(shift):
    return lambda place: 0.05 * place * place + math.sin(3 * place + shift)


def evaluate(program_path):
    spec = importlib.util.spec_from_file_location("program", program_path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    lines = [line(0.3 * number) for number in range(40)]
    mean = sum(height(program.run(height)) for height in lines) / len(lines)
    score = 1.0 / (1.0 + abs(mean + 0.98))
    return EvaluationResult(metrics={"combined_score": score, "height": mean, "note": "fine"}, artifacts={"log": "x"})
