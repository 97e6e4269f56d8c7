"""Tests of node/network/discovery."""
