"""Tests as sentences of a specification; the folders mirror those of the program."""
