"""A Kademlia DHT of provider records, on the wire of libp2p's kad-dht: how strangers of one swarm find each other."""
