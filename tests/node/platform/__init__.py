"""Tests of node/platform."""
