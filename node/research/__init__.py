"""This node's own work: propose an edit, try it, keep it or revert, record it."""
