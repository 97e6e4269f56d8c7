"""The template objective's source in two files, and an idea that edits both; all else is the template's own."""
