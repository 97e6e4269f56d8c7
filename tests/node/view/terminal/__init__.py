"""Tests of node/view/terminal."""
