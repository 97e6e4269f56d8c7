// What js-libp2p uses and Node.js 20 lacks; Node.js 22 has it. Import this before everything else.

Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((fulfil, refuse) => { resolve = fulfil; reject = refuse })
  return { promise, resolve, reject }
}
