// Another client of the swarm: it joins, syncs, verifies and prints every record it hears as a line of JSON, publishes a
// hypothesis of its own, and then one with a damaged signature, which nobody should take.
//
//   node client.mjs INVITE [SECONDS]
//   node client.mjs MULTIADDR OBJECTIVE_ID [SECONDS]
//
// It knows how the parts meet; what records, feeds and sessions are is in the files beside it.

import './older_node.mjs'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { TopicValidatorResult } from '@libp2p/gossipsub'
import { multiaddr } from '@multiformats/multiaddr'
import { id as idOf, integer } from './bodies.mjs'
import { decode, encode, Malformed, MESSAGE } from './codec.mjs'
import { Feeds } from './feeds.mjs'
import { startHost } from './host.mjs'
import { readInvite } from './invite.mjs'
import { hex, open, peerOf, same, show, sign, tamper } from './records.mjs'
import { PROTOCOL, reconcile } from './sync.mjs'

const MAX_BATCH = 64
const MOST_LEASE_SECONDS = 86_400
const SUBSCRIBED_MS = 10_000
const say = (event, details) => console.log(JSON.stringify({ event, ...details }))

class Client {
  constructor (host, key, objective) {
    this.host = host
    this.key = key
    this.objective = objective
    this.topic = `/autoresearch/1/${hex(objective)}`
    this.feeds = new Feeds()
  }

  /** Opens a record, keeps it if it is the next of its feed, and prints it; what became of it. Throws Malformed. */
  async take (wire, via) {
    const record = await open(wire)
    if (!same(record.objective, this.objective)) throw new Malformed('a record of another objective')
    const became = this.feeds.add(record)
    if (became === 'new') say('record', { via, ...show(record) })
    else if (became !== 'known') say(became, { via, author: peerOf(record.author), seq: record.seq })
    return became
  }

  /** Takes what is to prove that a feed is forked: two records in wire form. Throws Malformed. */
  async takeProof (proof) {
    const records = [await open(proof[0]), await open(proof[1])]
    if (!records.every(record => same(record.objective, this.objective))) throw new Malformed('a fork of another objective')
    const [, late] = records.sort((one, other) => one.seq - other.seq)
    if (this.feeds.fork(...records)) say('fork', { via: 'sync', author: peerOf(late.author), seq: late.seq })
  }

  /** Judges a gossip message before it travels on. */
  async judge (forwarder, message) {
    try {
      const said = decode(message.data, MESSAGE)
      if (said.t === 'presence') {
        const { t, best, ...rest } = said
        say('presence', { of: message.from.toString(), ...rest, best: best === null ? null : hex(best) })
        return TopicValidatorResult.Accept
      }
      if (said.t === 'lease') {
        const [parent, fingerprint] = ['parent', 'fingerprint'].map(name => hex(idOf(said[name], name)))
        const seconds = integer(said.seconds, 'seconds', 0, MOST_LEASE_SECONDS)
        say('lease', { of: message.from.toString(), parent, fingerprint, seconds })
        return TopicValidatorResult.Accept
      }
      if (said.t !== 'record' && said.t !== 'records') throw new Malformed('a gossip message of an unknown type')
      const became = await this.hear(said.wires ?? [said.wire], message.from.toString())
      if (became.includes('gap')) this.sync(forwarder)
      return became.some(word => word === 'new' || word === 'gap') ? TopicValidatorResult.Accept : TopicValidatorResult.Ignore
    } catch (error) {
      say('refused', { via: 'gossip', from: forwarder.toString(), reason: error.message })
      return TopicValidatorResult.Reject
    }
  }

  /** Takes the records of a gossip message, all or, when one is not what it should be, none. Throws Malformed. */
  async hear (wires, publisher) {
    if (wires.length > MAX_BATCH) throw new Malformed(`more than ${MAX_BATCH} records in one message`)
    for (const wire of wires) {
      const { author } = await open(wire)
      if (peerOf(author) !== publisher) throw new Malformed('a record published by another than its author')
    }
    const became = []
    for (const wire of wires) became.push(await this.take(wire, 'gossip'))
    return became
  }

  /** Holds one sync session on a stream, whoever opened it. */
  async reconcile (stream, peer) {
    try {
      const moved = await reconcile(stream, this.objective, this.feeds, wire => this.take(wire, 'sync'), proof => this.takeProof(proof))
      say('synced', { with: peer.toString(), ...moved, feeds: this.heads() })
    } catch (error) {
      say('sync failed', { with: peer.toString(), reason: error.message })
      stream.abort(error)
    }
  }

  async sync (peer) {
    await this.reconcile(await this.host.dialProtocol(peer, PROTOCOL), peer)
  }

  heads () {
    return this.feeds.heads().map(([author, length, head]) => ({ author: peerOf(author), length, head: hex(head) }))
  }

  async start () {
    const { pubsub } = this.host.services
    await this.host.handle(PROTOCOL, (stream, connection) => this.reconcile(stream, connection.remotePeer))
    pubsub.topicValidators.set(this.topic, (forwarder, message) => this.judge(forwarder, message))
    pubsub.subscribe(this.topic)
  }

  /** Meets whoever is at these addresses, one after the other. Throws when that is nobody. */
  async join (addresses) {
    let met = 0
    for (const address of addresses) {
      try {
        const { remotePeer } = await this.host.dial(multiaddr(address))
        await this.subscribed(remotePeer)
        say('joined', { peer: remotePeer.toString(), own: this.host.peerId.toString(), topic: this.topic })
        await this.sync(remotePeer)
        met++
      } catch (error) {
        say('not reached', { address, reason: error.message })
      }
    }
    if (met === 0) throw new Error('nobody was reached; is the node running, and the invite of today?')
  }

  /** Resolves when the peer has said that it listens to the topic, without which nothing would be sent to it. */
  async subscribed (peer) {
    const { pubsub } = this.host.services
    const isSubscribed = () => pubsub.getSubscribers(this.topic).some(subscriber => subscriber.equals(peer))
    const late = AbortSignal.timeout(SUBSCRIBED_MS)
    while (!isSubscribed()) {
      await new Promise((resolve, reject) => {
        pubsub.addEventListener('subscription-change', resolve, { once: true })
        late.addEventListener('abort', () => reject(new Error('the peer does not listen to this topic')), { once: true })
      })
    }
  }

  /** Publishes the next record of the own feed, and a successor of it whose signature is damaged. */
  async publish () {
    const body = (title) => ({ title, category: 'initialisation', reason: 'Said by another client.', edit: null, base: null })
    const wire = await sign(this.key, this.objective, { seq: 0 }, 'hypothesis', body('An idea from another client'))
    await this.take(wire, 'own')
    const { id } = await open(wire)
    await this.say(wire, 'published')
    const next = await sign(this.key, this.objective, { seq: 1, prev: id }, 'hypothesis', body('A damaged idea'))
    await this.say(tamper(next), 'published tampered')
  }

  async say (wire, event) {
    const { recipients } = await this.host.services.pubsub.publish(this.topic, encode({ t: 'record', wire }))
    say(event, { recipients: recipients.length })
  }
}

function readArguments ([first, ...rest]) {
  if (first?.startsWith('/')) {
    return { objective: Uint8Array.from(Buffer.from(rest[0] ?? '', 'hex')), addresses: [first], seconds: Number(rest[1] ?? 20) }
  }
  const { objective, addresses, swarmKey } = readInvite(first ?? '')
  if (swarmKey !== undefined) throw new Malformed('this client does not speak with private swarms')
  return { objective, addresses, seconds: Number(rest[0] ?? 20) }
}

try {
  const { objective, addresses, seconds } = readArguments(process.argv.slice(2))
  const key = await generateKeyPair('Ed25519')
  const client = new Client(await startHost([], key), key, objective)
  setTimeout(async () => { await client.host.stop(); process.exit() }, 1000 * seconds)
  await client.start()
  await client.join(addresses)
  await client.publish()
} catch (error) {
  say('failed', { reason: error.message })
  process.exit(1)
}
