"""Tests of node/execution/workers."""
