// Feeds: what this client holds of every author, in order. Gaps are noticed, and forks end a feed.

import { hex, same } from './records.mjs'

export class Feeds {
  #feeds = new Map() // author in hexadecimal -> its records in order
  #forked = new Set()

  /** Takes in an opened record; 'new', 'known', 'gap' or 'fork' says what became of it. */
  add (record) {
    const author = hex(record.author)
    const feed = this.#feeds.get(author) ?? []
    if (this.#forked.has(author)) return 'fork'
    if (record.seq > feed.length) return 'gap'
    const linked = record.seq === 0 || same(record.prev, feed[record.seq - 1].id)
    if (record.seq < feed.length ? !same(record.id, feed[record.seq].id) : !linked) {
      this.#forked.add(author)
      return 'fork'
    }
    if (record.seq < feed.length) return 'known'
    feed.push(record)
    this.#feeds.set(author, feed)
    return 'new'
  }

  /** Every feed held, as [author, length, id of the last record]. */
  heads () {
    return [...this.#feeds.values()].map(feed => [feed.at(-1).author, feed.length, feed.at(-1).id])
  }

  /** The wire forms of an author's records from a place on. */
  wires (author, start) {
    return (this.#feeds.get(hex(author)) ?? []).slice(start).map(record => record.wire)
  }
}
