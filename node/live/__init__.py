"""Trials that people meet: variants of a page, a subject line or an ad, and what an audience answers."""
