"""Making one run: worker processes in a sandbox train a source, answer the judge and score it."""
