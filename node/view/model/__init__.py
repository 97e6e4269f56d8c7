"""What is shown, as plain data: one form behind `--json`, the terminal, the page and the files."""
