"""Tests of node/network."""
