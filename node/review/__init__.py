"""Peers' work: which claim comes next, and how it is tried here, adopted, re-run for the swarm, or audited."""
