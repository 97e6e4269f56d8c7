// Opens the protocol's test vectors with this client's own code: node vectors.mjs FOLDER. Prints what disagrees, if anything.

import './older_node.mjs'
import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { decode, encode, Malformed, MESSAGE } from './codec.mjs'
import { readInvite } from './invite.mjs'
import { hex, open, show } from './records.mjs'

const read = name => JSON.parse(readFileSync(`${process.argv[2]}/${name}`))
const bytes = text => Uint8Array.from(Buffer.from(text, 'hex'))
const disagreements = []
const check = (holds, what) => { if (!holds) disagreements.push(what) }

for (const vector of read('records.json').records) {
  const shown = show(await open(bytes(vector.wire)))
  check(isDeepStrictEqual(shown, vector.says), `${vector.kind} ${vector.id}: ${JSON.stringify(shown)}`)
}
const brought = read('origins.json')
check(isDeepStrictEqual(show(await open(bytes(brought.wire))), brought.says), 'an experiment of an idea from elsewhere')
for (const vector of read('invalid-records.json')) {
  try {
    await open(bytes(vector.wire))
    disagreements.push(`taken for valid: ${vector.why}`)
  } catch (error) {
    check(error instanceof Malformed, `${vector.why}: ${error.stack}`)
  }
}
const messages = read('messages.json')
for (const vector of [...messages.gossip, ...messages.streams]) {
  check(hex(encode(decode(bytes(vector.bytes), MESSAGE))) === vector.bytes, `another encoding of ${vector.type}`)
}
const objectives = read('objectives.json')
const invite = readInvite(objectives.invite)
check(hex(invite.objective) === objectives['objective id'], 'the invite names another objective')
check(isDeepStrictEqual(invite.addresses, objectives.addresses), 'the invite names other addresses')
check(invite.swarmKey === undefined, 'the invite of an open swarm has a key')
check(hex(readInvite(objectives['private invite']).swarmKey) === objectives['swarm key'], 'another swarm key')

for (const disagreement of disagreements) console.log(disagreement)
process.exit(disagreements.length === 0 ? 0 : 1)
