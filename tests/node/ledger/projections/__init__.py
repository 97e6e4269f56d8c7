"""Tests of node/ledger/projections."""
