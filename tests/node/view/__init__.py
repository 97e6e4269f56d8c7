"""Tests of node/view."""
