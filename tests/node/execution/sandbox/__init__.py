"""Tests of node/execution/sandbox."""
