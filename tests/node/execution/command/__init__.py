"""Tests of node/execution/command."""
