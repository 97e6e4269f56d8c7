"""Tests of node/ledger."""
