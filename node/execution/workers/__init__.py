"""Programs that run inside sandboxes, one room each: the candidate trains, the examination answers, the judge scores.

Each is a script that stands alone, is started ahead of need, waits for one job on its pipes, serves it and ends.
"""
