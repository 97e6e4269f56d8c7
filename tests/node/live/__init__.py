"""Live tests: what is approved, served, counted and claimed."""
