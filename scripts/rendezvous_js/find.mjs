// Looks swarms up in the DHT with js-libp2p's own kad-dht, knowing one server.
//
//     node find.mjs SERVER_MULTIADDR OBJECTIVE_HEX [OBJECTIVE_HEX ...]
//
// Prints one line of JSON: for each objective, the peer ids of its providers, those at whose address one answered a
// ping are marked as reached.

import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import * as digest from 'multiformats/hashes/digest'
import { setTimeout as sleep } from 'node:timers/promises'

// Node 20 lacks it, and the libraries use it.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}

const RAW = 0x55
const SHA256 = 0x12
const [server, ...objectives] = process.argv.slice(2)

const host = await createLibp2p({
  addresses: { listen: [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  connectionMonitor: { enabled: false },
  services: {
    identify: identify(),
    ping: ping(),
    dht: kadDHT({ protocol: '/autoresearch/kad/1.0.0', clientMode: true, peerInfoMapper: passthroughMapper })
  }
})
await host.dial(multiaddr(server))
await sleep(2000) // identify says that the server speaks the DHT's protocol, and it comes into the table

const answer = {}
for (const hex of objectives) {
  const cid = CID.createV1(RAW, digest.create(SHA256, Buffer.from(hex, 'hex')))
  const found = new Map()
  try {
    for await (const provider of host.contentRouting.findProviders(cid, { signal: AbortSignal.timeout(20_000) })) {
      found.set(provider.id.toString(), provider)
    }
  } catch (error) {
    console.error('looking up:', error.message)
  }
  const reached = []
  for (const [id, provider] of [...found].slice(0, 3)) {
    try {
      await host.services.ping.ping(provider.multiaddrs.map(a => a.encapsulate(`/p2p/${id}`)), { signal: AbortSignal.timeout(5000) })
      reached.push(id)
    } catch (error) {
      console.error(`reaching ${id}:`, error.message)
    }
  }
  answer[hex] = { found: [...found.keys()], reached }
}
console.log(JSON.stringify(answer))
process.exit(0)
