// msgpack in the protocol's one canonical form, with its limits. It knows bytes and plain values, nothing of what they mean.
//
// The library decodes; the walk over the bytes before it finds what decoding hides: a number that could be shorter, keys
// out of order or twice, NaN, extensions, and whatever is too long, too deep or too much.

import * as msgpack from '@msgpack/msgpack'

export const RECORD = { bytes: 65536, depth: 8, items: 1024, text: 2048, binary: 65536 }
export const MESSAGE = { bytes: 1048576, depth: 4, items: 65536, text: 256, binary: 1048576 }
export const INVITE = { bytes: 4096, depth: 3, items: 64, text: 256, binary: 32 }

export class Malformed extends Error {}

/** Canonical bytes of a plain value. A JavaScript number without fraction becomes an integer. */
export function encode (value) {
  return msgpack.encode(value, { sortKeys: true })
}

/** The plain value in `bytes`, all of it. Throws Malformed. */
export function decode (bytes, limits) {
  if (bytes.length > limits.bytes) throw new Malformed(`${bytes.length} bytes where at most ${limits.bytes} are allowed`)
  const end = walk(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, 0, limits, { left: limits.items })
  if (end !== bytes.length) throw new Malformed('bytes after the end')
  return msgpack.decode(bytes)
}

// first byte -> bytes of the length or number that follow
const TEXT = { 0xd9: 1, 0xda: 2, 0xdb: 4 }
const BINARY = { 0xc4: 1, 0xc5: 2, 0xc6: 4 }
const ARRAY = { 0xdc: 2, 0xdd: 4 }
const MAP = { 0xde: 2, 0xdf: 4 }
const UNSIGNED = { 0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8 }
const SIGNED = { 0xd0: 1, 0xd1: 2, 0xd2: 4, 0xd3: 8 }

/** Checks the value at `at` and returns where it ends. */
function walk (view, at, depth, limits, items) {
  if (items.left-- === 0) throw new Malformed('too many items')
  if (depth > limits.depth) throw new Malformed(`nested deeper than ${limits.depth}`)
  const first = byte(view, at)
  if (first <= 0x7f || first >= 0xe0 || first === 0xc0 || first === 0xc2 || first === 0xc3) return at + 1
  if (first === 0xcb) {
    if (!Number.isFinite(view.getFloat64(inside(view, at + 1, 8)))) throw new Malformed('a number is not finite')
    return at + 9
  }
  if (first in UNSIGNED || first in SIGNED) return wholeNumber(view, at, first)
  if (isText(first)) return text(view, at, limits).end
  if (first in BINARY) {
    const [length, start] = size(view, at + 1, BINARY[first], 0)
    if (length > limits.binary) throw new Malformed('binary is too long')
    return inside(view, start, length) + length
  }
  if ((first & 0xf0) === 0x90 || first in ARRAY) {
    let [length, next] = first in ARRAY ? size(view, at + 1, ARRAY[first], 16) : [first & 0x0f, at + 1]
    for (; length > 0; length--) next = walk(view, next, depth + 1, limits, items)
    return next
  }
  if ((first & 0xf0) === 0x80 || first in MAP) {
    let [length, next] = first in MAP ? size(view, at + 1, MAP[first], 16) : [first & 0x0f, at + 1]
    for (let last; length > 0; length--) {
      if (!isText(byte(view, next))) throw new Malformed('a map key is not text')
      const key = text(view, next, limits)
      if (last !== undefined && Buffer.compare(last, key.bytes) >= 0) throw new Malformed('map keys are not in order')
      last = key.bytes
      next = walk(view, key.end, depth + 1, limits, items)
    }
    return next
  }
  throw new Malformed('a kind of value that is not allowed')
}

function isText (first) {
  return (first & 0xe0) === 0xa0 || first in TEXT
}

function text (view, at, limits) {
  const first = byte(view, at)
  const [length, start] = first in TEXT ? size(view, at + 1, TEXT[first], 32) : [first & 0x1f, at + 1]
  if (length > limits.text) throw new Malformed('text is too long')
  const bytes = new Uint8Array(view.buffer, view.byteOffset + inside(view, start, length), length)
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new Malformed('text is not UTF-8')
  }
  return { bytes, end: start + length }
}

/** A length of `width` bytes, which would not fit fewer; `least` is the smallest that no one-byte form holds. */
function size (view, at, width, least) {
  const length = Number(unsigned(view, at, width))
  const smallest = { 1: least, 2: least === 16 ? 16 : 256, 4: 65536 }[width]
  if (length < smallest) throw new Malformed('a length could be shorter')
  return [length, at + width]
}

function wholeNumber (view, at, first) {
  const width = UNSIGNED[first] ?? SIGNED[first]
  const value = first in UNSIGNED ? unsigned(view, at + 1, width) : BigInt.asIntN(8 * width, unsigned(view, at + 1, width))
  const needed = value >= 0n
    ? (value < 1n << 8n ? 1 : value < 1n << 16n ? 2 : value < 1n << 32n ? 4 : 8)
    : (value >= -(1n << 7n) ? 1 : value >= -(1n << 15n) ? 2 : value >= -(1n << 31n) ? 4 : 8)
  const oneByte = value >= -32n && value < 128n
  if (oneByte || width !== needed || (value >= 0n) !== (first in UNSIGNED)) throw new Malformed('a number could be shorter')
  return at + 1 + width
}

function unsigned (view, at, width) {
  let value = 0n
  inside(view, at, width)
  for (let index = 0; index < width; index++) value = (value << 8n) | BigInt(view.getUint8(at + index))
  return value
}

function byte (view, at) {
  return view.getUint8(inside(view, at, 1))
}

function inside (view, at, length) {
  if (at + length > view.byteLength) throw new Malformed('the bytes end too early')
  return at
}
