"""tinylm's data, judge and known ideas."""
