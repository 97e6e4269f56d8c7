"""Tests of node/review."""
