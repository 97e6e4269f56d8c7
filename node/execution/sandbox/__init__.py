"""The sandbox: an untrusted program can compute and answer on its pipes, and do nothing else.

`layers` finds out which protections this machine offers, `policy` says what a program may have, `process` runs and
watches it. `stage` is the last code of ours inside the child: it applies `landlock` and `seccomp`, then executes the
program. Nothing here knows of objectives, training or scores.
"""
