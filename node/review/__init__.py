"""Peers' work: which claim is looked at next, tried here, adopted, re-run for all, or audited."""
