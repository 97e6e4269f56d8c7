"""A static site of what a swarm has found, tried and refuted: pages that need no script and no server."""
