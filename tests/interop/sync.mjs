// Sync: one session over a stream, from either side: both sides do the same.
//
// This client lists its feeds, however many, which every node understands; so it never gives digests, and of a node's it
// has to know no more than that it will list in the next round what it holds of the same feeds.

import { lpStream } from '@libp2p/utils'
import { id, integer } from './bodies.mjs'
import { decode, encode, Malformed, MESSAGE } from './codec.mjs'
import { hex, same } from './records.mjs'

export const PROTOCOL = '/autoresearch/sync/1.0.0'

const MAX_FRAME = 1 << 20
const BATCH_BYTES = 256 << 10
const FRAME_MS = 10_000
const MOST_FEEDS = 10_000
const PARTS = 16
const MOST = 2 ** 53

const lengthEncoder = length => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, length)
  return bytes
}
const lengthDecoder = bytes => { // a RangeError asks for more bytes
  if (bytes.byteLength < 4) throw new RangeError('the length is not whole yet')
  return bytes.getUint32(0)
}
lengthEncoder.bytes = lengthDecoder.bytes = 4

/** Brings both sides up to date. `take` is given each wire that arrives, in order, `takeProof` each pair of wires that is to
 * prove a fork; resolves to {got, sent}, in records. */
export async function reconcile (stream, objective, feeds, take, takeProof) {
  const frames = lpStream(stream, {
    lengthEncoder, lengthDecoder, maxDataLength: MAX_FRAME, maxLengthLength: 4, maxBufferSize: 16 * MAX_FRAME
  })
  const send = message => frames.write(encode(message), { signal: AbortSignal.timeout(FRAME_MS) })
  const receive = async () => {
    const frame = await frames.read({ signal: AbortSignal.timeout(FRAME_MS) })
    return decode(frame.subarray(), MESSAGE)
  }

  const own = feeds.heads().slice(0, MOST_FEEDS)
  const theirs = await exchangeVectors(send, receive, objective, own)
  const sending = sendMissing(send, feeds, own, theirs)
  const got = await takeUntilDone(receive, take, takeProof)
  const sent = await sending
  await stream.close()
  return { got, sent }
}

/** What the other side holds of the feeds that this side lists, and, if it listed, of all others. */
async function exchangeVectors (send, receive, objective, own) {
  await send({ t: 'vector', objective, feeds: own })
  const opening = openVector(await receive(), objective)
  if (opening.digests.length === 0) return opening.feeds
  if (opening.digests.length !== PARTS || opening.feeds.length > 0) throw new Malformed('a first vector about something else')
  if (own.length === 0) return []
  await send({ t: 'vector', objective, feeds: [] })
  const { feeds, digests } = openVector(await receive(), objective)
  const asked = new Set(own.map(([author]) => hex(author)))
  if (digests.length > 0 || !feeds.every(([author]) => asked.has(hex(author)))) throw new Malformed('an answer about something else')
  return feeds
}

function openVector (message, objective) {
  if (message.t !== 'vector' || !same(id(message.objective, 'objective'), objective)) throw new Malformed('no vector where one is due')
  const { feeds, digests = [] } = message
  if (![feeds, digests].every(Array.isArray)) throw new Malformed('a vector has lists')
  for (const [author, length, head] of feeds) {
    id(author, 'author')
    integer(length, 'length', 0, MOST)
    id(head, 'head')
  }
  return { feeds, digests }
}

async function takeUntilDone (receive, take, takeProof) {
  let got = 0
  while (true) {
    const message = await receive()
    if (message.t === 'done') return got
    if (message.t === 'forks') {
      for (const proof of message.proofs) await takeProof(proof)
    } else if (message.t === 'records') {
      for (const wire of message.wires) got += await take(wire) === 'new' ? 1 : 0
    } else {
      throw new Malformed('something that is no part of a session')
    }
  }
}

async function sendMissing (send, feeds, own, theirs) {
  const held = new Map(theirs.map(([author, length, head]) => [hex(author), { length, head }]))
  const proofs = []
  const missing = []
  for (const [author, length, head] of own) {
    const other = held.get(hex(author))
    if (other?.length === 0) continue // they know it to be forked
    if (length === 0) {
      proofs.push(feeds.proof(author))
      continue
    }
    const forked = other?.length === length && !same(other.head, head)
    missing.push(...feeds.wires(author, forked ? length - 1 : other?.length ?? 0))
  }
  for (const batch of batches(proofs)) await send({ t: 'forks', proofs: batch })
  for (const batch of batches(missing)) await send({ t: 'records', wires: batch })
  await send({ t: 'done' })
  return missing.length
}

/** Wires, or pairs of them, in lists of about BATCH_BYTES. */
function * batches (items) {
  let batch = []
  let size = 0
  for (const item of items) {
    batch.push(item)
    size += item instanceof Uint8Array ? item.length : item[0].length + item[1].length
    if (size < BATCH_BYTES) continue
    yield batch
    batch = []
    size = 0
  }
  if (batch.length > 0) yield batch
}
