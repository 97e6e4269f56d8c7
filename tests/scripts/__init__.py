"""Tests of the scripts that people and benchmarks rely on."""
