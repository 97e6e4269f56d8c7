"""tinylm's language, judge and known ideas."""
