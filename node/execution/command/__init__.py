"""Runs of objectives that are a command: any folder whose command prints values.

`command_runner` makes a run: in a folder that `run_folder` makes, with what `environment` shows beside it, its output
collected by `output` and read by `values`. The values are the command's own word: what it prints is what a run is
worth, so all above says "self-measured" wherever it shows one.
"""
