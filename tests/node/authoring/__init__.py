"""Tests of node/authoring."""
