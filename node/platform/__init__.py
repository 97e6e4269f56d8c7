"""This machine and this installation: hardware, settings, the home folder, the event log, concurrency."""
