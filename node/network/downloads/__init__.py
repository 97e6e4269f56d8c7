"""Fetching files over HTTP from the addresses that an objective names, for prepare.py to read.

`store` says where files lie and what of them has come, `transfer` makes one attempt at one address, `fetch` goes from
mirror to mirror until a file is here and is what it must be. It knows nothing of peers, nor of what is in a file.
"""
