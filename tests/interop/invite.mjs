// Invites: which objective, and where somebody who has it can be reached.

import { base58btc } from 'multiformats/bases/base58'
import { decode, INVITE, Malformed } from './codec.mjs'
import { same, sha256 } from './records.mjs'

const CHECKSUM_BYTES = 4

/** {objective, addresses} of an invite string, and swarmKey for a private swarm. Throws Malformed with a text for the person who pasted it. */
export function readInvite (text) {
  if (!text.startsWith('ar1')) throw new Malformed('this is not an invite: one begins with "ar1"; copy the whole line')
  const raw = base58btc.decode('z' + text.slice(3))
  const [packed, checksum] = [raw.slice(0, -CHECKSUM_BYTES), raw.slice(-CHECKSUM_BYTES)]
  const whole = sha256(Buffer.concat([Buffer.from('autoresearch/invite/1\0'), packed]))
  if (!same(checksum, whole.slice(0, CHECKSUM_BYTES))) throw new Malformed('the invite is damaged or cut short')
  const [objective, addresses, swarmKey] = decode(packed, INVITE)
  return { objective, addresses, swarmKey }
}
