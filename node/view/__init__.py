"""What people see of a node and its swarm: as data, in the terminal, on a page, as files. It only reads the ledger."""
