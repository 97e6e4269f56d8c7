// One node of a plain js-libp2p GossipSub swarm, for comparison: scripts/gossip_bench.py tells it what to do, one JSON object
// per line of standard input, and reads its answers. scripts/gossip_bench_node.py holds the same conversation.
//
// It signs and verifies nothing beyond GossipSub's own signatures, and keeps nothing.

import './older_node.mjs'
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { multiaddr } from '@multiformats/multiaddr'
import { startHost } from './host.mjs'

const TOPIC = 'gossip bench'
const CONNECT_MS = 30_000
const AGAIN_MS = 500
const now = () => process.hrtime.bigint() // CLOCK_MONOTONIC, which all processes of a machine share
const answer = fields => console.log(JSON.stringify(fields))
const sleep = ms => new Promise(resolve => setTimeout(resolve, Math.max(0, ms)))
const untilNs = moment => sleep(Number(BigInt(moment) - now()) / 1e6)

const orders = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const next = async () => {
  const { value, done } = await orders.next()
  return done ? undefined : JSON.parse(value)
}

// js-libp2p closes what one address dials beyond its few connections a second, so a refused one is dialled again.
const dial = async address => {
  const late = performance.now() + CONNECT_MS
  for (;;) {
    try {
      return await host.dial(multiaddr(address))
    } catch (error) {
      if (performance.now() > late) throw error
      await sleep(AGAIN_MS)
    }
  }
}

answer({ ready: true })
const opening = await next()
const host = await startHost(['/ip4/127.0.0.1/tcp/0'])
const { pubsub } = host.services
const ages = []
pubsub.addEventListener('message', ({ detail: { data } }) => {
  ages.push(Number(now() - new DataView(data.buffer, data.byteOffset).getBigUint64(0)) / 1e6)
})
pubsub.subscribe(TOPIC)
for (const address of opening.dial) await dial(address)
answer({ address: host.getMultiaddrs()[0].toString() })

for (let order = await next(); order !== undefined; order = await next()) {
  if (!('moments' in order)) {
    const late = performance.now() + CONNECT_MS
    while (host.getPeers().length < opening.peers && performance.now() < late) await sleep(200)
    answer({ peers: host.getPeers().length })
    continue
  }
  const message = randomBytes(order.bytes)
  for (const moment of order.moments) {
    await untilNs(moment)
    message.writeBigUInt64BE(now())
    await pubsub.publish(TOPIC, Uint8Array.from(message))
  }
  while (ages.length < order.expected && now() < BigInt(order.end)) await sleep(50)
  answer({ ages, by_sync: 0, logged: {} })
}
await host.stop()
process.exit()
