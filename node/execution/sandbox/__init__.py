"""The sandbox: a program that nobody here trusts can compute, answer on its pipes, and do nothing else.

`layers` finds out what this machine offers, `policy` says what a program may have, `process` runs and watches it.
`stage` is the last code of ours inside the child; `landlock` and `seccomp` are what it closes the doors with.
Nothing here knows of objectives, training or scores.
"""
