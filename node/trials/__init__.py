"""Comparing two sources: cached runs, paired trials, the sequential test and its statistics."""
