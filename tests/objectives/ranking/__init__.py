"""ranking's text, judge, known ideas and runs."""
