"""Edit, train, evaluate on this machine: edits, objective, workspace, sandbox, runs and trials."""
