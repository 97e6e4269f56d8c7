"""Tests of node/view/files."""
