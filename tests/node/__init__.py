"""Tests of the node, package by package."""
