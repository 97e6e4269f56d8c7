"""Tests of node/research."""
