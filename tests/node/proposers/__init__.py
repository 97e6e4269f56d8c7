"""Tests of node/proposers."""
