"""Finding peers: remembered addresses, mDNS on the local network, and a port opened by UPnP."""
