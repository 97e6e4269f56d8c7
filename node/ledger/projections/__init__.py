"""Projections: pure functions of the records a node holds. The same records give the same result on every node."""
