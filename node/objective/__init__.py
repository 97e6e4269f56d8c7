"""An objective as data: its settings, files and identity, and the edits that can be made to its source."""
