"""Runs on a GPU: its rooms, its lock, and the watch over its memory."""
