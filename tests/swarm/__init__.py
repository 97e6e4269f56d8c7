"""Whole nodes, as processes, that find and confirm something together."""
