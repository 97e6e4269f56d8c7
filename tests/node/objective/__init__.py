"""Tests of node/objective."""
