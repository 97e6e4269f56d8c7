"""Workers that run elsewhere: a process behind `srun`, `ssh`, `docker run` or `kubectl` that makes whole runs.

`worker_protocol` is what the two ends say to each other, without any I/O. At the far end is `worker_process`, with
`objective_intake` and what it keeps in `worker_cache`. At the node's end `worker_link` is one worker, and `remote_runs`
makes runs with all of them.
"""
