"""nanolm's text, judge and known ideas."""
