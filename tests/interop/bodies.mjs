// What the body of each kind of record must look like. Every check throws Malformed and returns the value it has checked.

import { Malformed } from './codec.mjs'

const MOST = 2 ** 53
const FAILURES = ['syntax', 'exception', 'diverged', 'memory', 'timeout', 'output', 'killed', 'invalid']
const UNPLAIN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u

const wrong = (name, expected) => { throw new Malformed(`${name} is not ${expected}`) }

export function mapping (value, name) {
  const is = value !== null && typeof value === 'object' && !Array.isArray(value) && !(value instanceof Uint8Array)
  return is ? value : wrong(name, 'a map')
}
export function id (value, name) {
  return value instanceof Uint8Array && value.length === 32 ? value : wrong(name, '32 bytes')
}
function proof (value, name) {
  return value instanceof Uint8Array && value.length === 80 ? value : wrong(name, '80 bytes')
}
export function integer (value, name, least, most) {
  return Number.isInteger(value) && value >= least && value <= most ? value : wrong(name, 'a whole number in its range')
}
export function text (value, name, most) {
  const is = typeof value === 'string' && [...value].length <= most && !UNPLAIN.test(value)
  return is ? value : wrong(name, `plain text of at most ${most} characters`)
}

const number = (value, name, least, most) =>
  typeof value === 'number' && value >= least && value <= most ? value : wrong(name, 'a number in its range')
const oneOf = (...allowed) => (value, name) => allowed.includes(value) ? value : wrong(name, 'one of the words for it')
const list = (value, name, length) => Array.isArray(value) && value.length === length ? value : wrong(name, `a list of ${length}`)
const orNil = check => (value, name) => value === null ? null : check(value, name)
const upTo = most => (value, name) => text(value, name, most)

function effect (value, name) {
  const [mean, error, pairs] = list(value, name, 3)
  number(mean, name, -100, 100)
  number(error, name, 0, 100)
  integer(pairs, name, 1, 16)
}

function run (value, name) {
  const [metric, seconds, tokens, checkpoints, failure] = list(value, name, 5)
  if (failure !== null) oneOf(...FAILURES)(failure, name)
  if ((metric === null) === (failure === null)) wrong(name, 'either a value or a failure')
  if (metric !== null) number(metric, name, -1e15, 1e15)
  number(seconds, name, 0, 1e9)
  integer(tokens, name, 0, MOST)
  for (const point of atMost16(checkpoints, name)) {
    const [step, score] = list(point, name, 2)
    integer(step, name, 0, MOST)
    number(score, name, -1e15, 1e15)
  }
}

// How values compare; without it they are those of a loss.
function metric (value, name) {
  const [direction, scale, unit, spread] = list(value, name, 4)
  oneOf('lower', 'higher')(direction, name)
  oneOf('log', 'linear')(scale, name)
  number(unit, name, 1e-15, 1e15)
  number(spread, name, 0, 100)
}

// An experiment of another objective, from which an idea was taken.
function origin (value, name) {
  for (const one of list(value, name, 2)) id(one, name)
}

function checkValues (body) {
  const named = body.metric !== undefined
  const least = !named ? 1e-9 : body.metric[1] === 'log' ? 1e-15 : -1e15
  const most = named ? 1e15 : 1e9
  for (const [, parent, child] of [...(body.pairs ?? []), body.screening, body.pair].filter(Boolean)) {
    for (const [value, , , checkpoints] of [parent, child]) {
      if (value !== null) number(value, 'a run', least, most)
      for (const [, score] of checkpoints) number(score, 'a checkpoint', -most, most)
    }
  }
}

function pair (value, name) {
  const [seed, parent, child] = list(value, name, 3)
  integer(seed, name, 0, MOST)
  run(parent, name)
  run(child, name)
}

const atMost16 = (value, name) => Array.isArray(value) && value.length <= 16 ? value : wrong(name, 'a list of at most 16')
const pairs = (value, name) => atMost16(value, name).forEach(item => pair(item, name))
const cost = (value, name) => number(value, name, 1e-6, 1e6)

const TRIAL = {
  parent: id, child: id, class: upTo(40), device: upTo(80), sandbox: upTo(20), effect: orNil(effect), cost: orNil(cost), pairs
}
const FIELDS = {
  experiment: {
    ...TRIAL, title: upTo(120), category: upTo(40), reason: upTo(500), proposer: upTo(40), fingerprint: id,
    decision: oneOf('improved', 'no_gain', 'unclear', 'failed'), holdout: orNil(effect), screening: orNil(pair)
  },
  replication: {
    ...TRIAL, discovery: id, decision: oneOf('supports', 'contradicts', 'unclear', 'failed'),
    adopted: orNil(id), route: oneOf('', 'child', 'merge', 'whole'), adoption: orNil(effect)
  },
  audit: { discovery: id, report: id, class: upTo(40), device: upTo(80), platform: upTo(80), sandbox: upTo(20), pair },
  transfer: {
    ...TRIAL, discovery: id, scale: upTo(40), platform: upTo(80),
    decision: oneOf('carries_over', 'lost', 'unclear', 'failed')
  },
  hypothesis: { title: upTo(120), category: upTo(40), reason: upTo(500), edit: orNil(id), base: orNil(id) }
}

// absent from records made before they were there
const LATER = {
  experiment: { metric, origin }, audit: { metric }, replication: { base: orNil(id), platform: upTo(80), proof, metric },
  transfer: { proof, metric }
}

/** Checks the body of a record of this kind; of a kind this client does not know, nothing. */
export function checkBody (kind, body) {
  for (const [name, check] of Object.entries(FIELDS[kind] ?? {})) {
    if (!(name in body)) throw new Malformed(`${kind} has no ${name}`)
    check(body[name], name)
  }
  for (const [name, check] of Object.entries(LATER[kind] ?? {})) {
    if (name in body) check(body[name], name)
  }
  if (kind in LATER) checkValues(body)
  if (kind === 'experiment' && body.decision === 'improved' && (body.effect === null || body.pairs.length === 0)) {
    throw new Malformed('a claimed improvement shows its effect and its pairs')
  }
  if (kind === 'transfer' && body.effect === null && ['carries_over', 'lost'].includes(body.decision)) {
    throw new Malformed('a transfer that was measured shows its effect')
  }
  if (kind === 'transfer' && body.effect !== null && body.pairs.length === 0) {
    throw new Malformed('a transfer shows the pairs of its effect')
  }
  if (kind === 'replication' && (body.adopted === null) !== (body.route === '')) {
    throw new Malformed('an adoption names both its source and its route')
  }
}
