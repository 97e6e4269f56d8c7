"""Tests of protocol/: vectors, properties, audits, sync."""
