"""Tests of node/app."""
