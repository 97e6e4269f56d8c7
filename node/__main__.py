"""`python -m node`: the same program as `autoresearch-node`."""

from node.cli.main import main

main()
