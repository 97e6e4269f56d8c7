"""A whole swarm in one process: the real protocol code over a network, a clock and dice that are made up."""
