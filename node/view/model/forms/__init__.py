"""The form of what commands print with `--json`, as types."""
