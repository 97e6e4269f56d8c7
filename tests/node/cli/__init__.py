"""Tests of node/cli."""
