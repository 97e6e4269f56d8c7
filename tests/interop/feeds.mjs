// Feeds: what this client holds of every author, in order. Gaps are noticed; forks end a feed, and their proof is kept.

import { Malformed } from './codec.mjs'
import { hex, same } from './records.mjs'

const NO_HEAD = new Uint8Array(32)

export class Feeds {
  #feeds = new Map() // author in hexadecimal -> its records in order
  #forks = new Map() // author in hexadecimal -> the two records that prove the fork, the earlier place first

  /** Takes in an opened record; 'new', 'known', 'gap' or 'fork' says what became of it. */
  add (record) {
    const author = hex(record.author)
    const feed = this.#feeds.get(author) ?? []
    if (this.#forks.has(author)) return 'fork'
    if (record.seq > feed.length) return 'gap'
    if (record.seq < feed.length && same(record.id, feed[record.seq].id)) return 'known'
    const past = feed[record.seq - 1]
    if (record.seq < feed.length) this.fork(feed[record.seq], record)
    else if (past !== undefined && !same(record.prev, past.id)) this.fork(past, record)
    if (this.#forks.has(author)) return 'fork'
    feed.push(record)
    this.#feeds.set(author, feed)
    return 'new'
  }

  /** Takes in the proof of a fork, the earlier place first; whether it is news. Throws Malformed when it proves nothing. */
  fork (early, late) {
    const author = hex(late.author)
    const samePlace = early.seq === late.seq && !same(early.id, late.id)
    const otherPast = late.seq === early.seq + 1 && !same(late.prev, early.id)
    if (hex(early.author) !== author || !(samePlace || otherPast)) throw new Malformed('two records that prove no fork')
    if (this.#forks.has(author)) return false
    this.#forks.set(author, [early, late])
    return true
  }

  /** Every feed known, as [author, length, id of the last record]; of a forked one, length 0. */
  heads () {
    const forks = [...this.#forks.values()].map(([record]) => [record.author, 0, NO_HEAD])
    const whole = [...this.#feeds].filter(([author]) => !this.#forks.has(author)).map(([, feed]) => feed)
    return [...whole.map(feed => [feed.at(-1).author, feed.length, feed.at(-1).id]), ...forks]
  }

  /** The wire forms of an author's records from a place on. */
  wires (author, start) {
    return (this.#feeds.get(hex(author)) ?? []).slice(start).map(record => record.wire)
  }

  /** The wire forms of the two records that prove that an author's feed is forked; undefined when none do. */
  proof (author) {
    return this.#forks.get(hex(author))?.map(record => record.wire)
  }
}
