"""The network: how records and sources travel between nodes over libp2p.

`open_network` is all that a running node needs; `fetch_objective` is for one that has no ledger yet. The network meets
the rest of the node in the ledger only (see store.py), and trusts nothing that a peer sends beyond its signature.
"""

import node.network.left_out  # noqa: F401  (before anything of libp2p is imported)

# isort: split
from node.network.host import Address, Host, Reach
from node.network.objective_fetch import fetch_objective
from node.network.peer_check import NotReachedError, PeerCheck, check_peer
from node.network.swarm import Network, Peer, Settings, open_network
from node.platform.listening import ListenError

__all__ = [
    "Address",
    "Host",
    "ListenError",
    "Network",
    "NotReachedError",
    "Peer",
    "PeerCheck",
    "Reach",
    "Settings",
    "check_peer",
    "fetch_objective",
    "open_network",
]
