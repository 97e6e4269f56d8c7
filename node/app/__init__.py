"""A running node: its parts put together, and the commands around it (join, doctor, finalize)."""
