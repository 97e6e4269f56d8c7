// Records: made, signed, opened and checked, as protocol/README.md has them. It knows nothing of feeds or networks.

import { createHash } from 'node:crypto'
import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { checkBody, integer, mapping, id as idOf, text } from './bodies.mjs'
import { decode, encode, Malformed, RECORD } from './codec.mjs'

const DOMAIN = Buffer.from('autoresearch/record/1\0')
const NOBODY = new Uint8Array(32)
const MOST = 2 ** 53

export const hex = bytes => Buffer.from(bytes).toString('hex')
export const same = (a, b) => Buffer.compare(a, b) === 0
export const sha256 = bytes => new Uint8Array(createHash('sha256').update(bytes).digest())

/** The wire form of a new record. `place` is {seq, prev} of the author's feed. */
export async function sign (key, objective, place, kind, body) {
  const author = key.publicKey.raw
  const fields = { v: 1, kind, author, objective, seq: place.seq, prev: place.prev ?? NOBODY, time: Date.now(), body }
  const payload = encode(fields)
  return encode([payload, await key.sign(Buffer.concat([DOMAIN, payload]))])
}

/** The same record with one bit of its signature changed. */
export function tamper (wire) {
  const [payload, signature] = decode(wire, RECORD)
  const changed = Uint8Array.from(signature)
  changed[0] ^= 1
  return encode([payload, changed])
}

/** Decodes and verifies a record from outside. Throws Malformed whatever is wrong with it. */
export async function open (wire) {
  const envelope = decode(wire, RECORD)
  if (!Array.isArray(envelope) || envelope.length !== 2 || !envelope.every(part => part instanceof Uint8Array)) {
    throw new Malformed('a record is [payload, signature]')
  }
  const [payload, signature] = envelope
  const fields = mapping(decode(payload, RECORD), 'a record')
  if (fields.v !== 1) throw new Malformed('a record of another protocol version')
  const author = idOf(fields.author, 'author')
  if (!await holds(author, payload, signature)) throw new Malformed("a record's signature does not hold")
  const seq = integer(fields.seq, 'seq', 0, MOST)
  const prev = idOf(fields.prev, 'prev')
  if ((seq === 0) !== same(prev, NOBODY)) throw new Malformed("only a feed's first record has no predecessor")
  const kind = text(fields.kind, 'kind', 40)
  const objective = idOf(fields.objective, 'objective')
  const time = integer(fields.time, 'time', 0, MOST)
  checkBody(kind, mapping(fields.body, 'body'))
  return { id: sha256(payload), author, objective, seq, prev, time, kind, body: fields.body, wire }
}

async function holds (author, payload, signature) {
  if (signature.length !== 64) return false
  try {
    return await publicKeyFromRaw(author).verify(Buffer.concat([DOMAIN, payload]), signature)
  } catch {
    return false
  }
}

/** The libp2p peer id of an author. */
export const peerOf = author => peerIdFromPublicKey(publicKeyFromRaw(author)).toString()

/** A record for people: ids in hexadecimal, the author as a peer id. */
export function show (record) {
  const { id, author, objective, seq, prev, time, kind, body } = record
  return { id: hex(id), author: peerOf(author), objective: hex(objective), seq, prev: hex(prev), time, kind, body: plain(body) }
}

function plain (value) {
  if (value instanceof Uint8Array) return hex(value)
  if (Array.isArray(value)) return value.map(plain)
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item)]))
  }
  return value
}
