"""What a node remembers: signed records, sources, cached runs, settings, and every view worked out from records."""
