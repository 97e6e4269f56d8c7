"""The command line: one file for each group of commands. Thin: arguments in, text out."""
