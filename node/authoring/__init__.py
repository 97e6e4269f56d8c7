"""Writing an objective: begin one from the template, find what is wrong with it, measure its baseline.

It reads folders and makes runs. Neither the network nor a running node takes part, nor any ledger.
"""
