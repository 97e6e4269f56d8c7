"""What a source says, worked out in a process of its own: nothing of a stranger's is parsed in the node.

`parser` is the node's side: it starts the helper process, asks, and ends it at its limits. `helper` is the program of
that process, and `questions` what it can be asked. A source runs nowhere here; it is only read.
"""
