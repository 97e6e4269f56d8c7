"""A running node: its parts put together, whose turn it is, and what surrounds it (joining, doctor, notify)."""
