"""Searches side by side: recorded runs of tinylm, a model of them from which searches are replayed, and their tables."""
