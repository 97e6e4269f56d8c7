"""The programs of a run's workers, each in a sandbox of its own: `train`, `answer` and `judge`.

Each is a script that imports nothing of ours, is started ahead of need, waits for one job on its pipes, does it and
ends.
"""
