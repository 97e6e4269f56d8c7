"""The dashboard: a page served on loopback that shows everything live."""
