"""Tests of node/view/web."""
