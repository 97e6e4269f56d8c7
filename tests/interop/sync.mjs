// Sync: one session over a stream, from either side: both sides do the same.

import { lpStream } from '@libp2p/utils'
import { decode, encode, Malformed, MESSAGE } from './codec.mjs'
import { hex, same } from './records.mjs'

export const PROTOCOL = '/autoresearch/sync/1.0.0'

const MAX_FRAME = 1 << 20
const BATCH_BYTES = 256 << 10
const FRAME_MS = 10_000

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

/** Brings both sides up to date. `take` is given each wire that arrives, in order; resolves to {got, sent}. */
export async function reconcile (stream, objective, feeds, take) {
  const frames = lpStream(stream, {
    lengthEncoder, lengthDecoder, maxDataLength: MAX_FRAME, maxLengthLength: 4, maxBufferSize: 16 * MAX_FRAME
  })
  const send = message => frames.write(encode(message), { signal: AbortSignal.timeout(FRAME_MS) })
  const receive = async () => {
    const frame = await frames.read({ signal: AbortSignal.timeout(FRAME_MS) })
    return decode(frame.subarray(), MESSAGE)
  }

  await send({ t: 'vector', objective, feeds: feeds.heads() })
  const opening = await receive()
  if (opening.t !== 'vector' || !same(opening.objective, objective)) throw new Malformed('a session opens with a vector')
  const sending = sendMissing(send, feeds, opening.feeds)
  const got = await takeUntilDone(receive, take)
  const sent = await sending
  await stream.close()
  return { got, sent }
}

async function takeUntilDone (receive, take) {
  let got = 0
  while (true) {
    const message = await receive()
    if (message.t === 'done') return got
    if (message.t !== 'records') throw new Malformed('something that is no part of a session')
    for (const wire of message.wires) got += await take(wire) === 'new' ? 1 : 0
  }
}

async function sendMissing (send, feeds, theirs) {
  const held = new Map(theirs.map(([author, length, head]) => [hex(author), { length, head }]))
  const missing = feeds.heads().flatMap(([author, length, head]) => {
    const other = held.get(hex(author)) ?? { length: 0 }
    const forked = other.length === length && !same(other.head, head)
    return feeds.wires(author, forked ? length - 1 : other.length)
  })
  for (let batch = [], size = 0, index = 0; index < missing.length; index++) {
    batch.push(missing[index])
    size += missing[index].length
    if (size >= BATCH_BYTES || index === missing.length - 1) {
      await send({ t: 'records', wires: batch })
      batch = []
      size = 0
    }
  }
  await send({ t: 'done' })
  return missing.length
}
