// The libp2p host that this client and the comparison swarm share: TCP, Noise, Yamux, GossipSub as the README has them.

import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { createLibp2p } from 'libp2p'

/** A running host. `listen` is a list of multiaddrs, empty for one that only dials; `privateKey` undefined makes a new one. */
export function startHost (listen, privateKey) {
  return createLibp2p({
    privateKey,
    addresses: { listen },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
    services: {
      identify: identify(),
      pubsub: gossipsub({
        globalSignaturePolicy: 'StrictSign',
        D: 6,
        Dlo: 4,
        Dhi: 12,
        heartbeatInterval: 1000,
        fallbackToFloodsub: false,
        allowPublishToZeroTopicPeers: true,
        emitSelf: false
      })
    }
  })
}
