"""Content by its sha256: served to peers, and downloaded from several of them in pieces."""
