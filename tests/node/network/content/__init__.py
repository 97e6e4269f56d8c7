"""Tests of node/network/content."""
