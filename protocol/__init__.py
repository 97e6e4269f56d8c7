"""What peers say to each other: records, feeds, sync and evidence, as pure functions over bytes and values.

Nothing here opens a socket or a file, reads a clock or keeps global state; `node` does that around it.
"""
