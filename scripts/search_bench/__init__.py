"""Searches side by side: real ones, recorded runs of tinylm, a model from which searches are replayed, tables."""
