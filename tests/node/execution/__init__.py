"""Tests of node/execution."""
