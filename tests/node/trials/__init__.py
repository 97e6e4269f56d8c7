"""Tests of node/trials."""
