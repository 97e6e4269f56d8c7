"""Writing an objective of one's own: begin one from the template, find what is wrong with it, measure its baseline.

It reads folders and makes runs; no ledger, network or node takes part.
"""
