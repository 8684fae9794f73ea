// Several clients at once through a proxy: node sessions.js URL CERTIFICATE client2|client4 polling|websocket|upgrade
// Each joins, publishes, and receives what all publish. Prints the nodes that have the sessions, by the sids' names.
'use strict';
const assert = require('node:assert/strict');
const ca = require('node:fs').readFileSync(process.argv[3]);
const [url, , version, mode] = process.argv.slice(2);
const io = require(version);
const transports = mode === 'upgrade' ? ['polling', 'websocket'] : [mode];
const COUNT = 8;

function open() {
  const socket = io(url, { transports, ca, forceNew: true, reconnection: false });
  const received = [];
  let complete;
  socket.on('report_csr', n => received.push(n) === COUNT && complete());
  const all = new Promise((resolve, reject) => {
    complete = resolve;
    socket.on('disconnect', reason => reject(new Error('disconnected: ' + reason)));
    socket.on('connect_error', reject);
  });
  all.catch(() => {});
  return { socket, received, all };
}
const ask = (socket, ...event) => new Promise(resolve => socket.emit(...event, (...answer) => resolve(answer)));
const upgraded = engine =>
  mode !== 'upgrade' || engine.transport.name === 'websocket' || new Promise(resolve => engine.once('upgrade', resolve));

async function run() {
  const clients = Array.from({ length: COUNT }, open);
  await Promise.all(clients.map(({ socket }) => new Promise(resolve => socket.once('connect', resolve))));
  // The client of 1.x and 2.x has the engine's sid as its id.
  const nodes = new Set(clients.map(({ socket }) => socket.io.engine.id.split('-')[0]));
  const joined = await Promise.all(clients.map(({ socket }) => ask(socket, 'subscribe', 'support')));
  assert.deepEqual(joined, Array(COUNT).fill([true]));
  await Promise.all(clients.map(({ socket }) => upgraded(socket.io.engine)));
  const taken = await Promise.all(clients.map(({ socket }, n) => ask(socket, 'report_csr', n)));
  assert.ok(taken.every(([isTaken]) => isTaken));
  await Promise.all(clients.map(({ all }) => all));
  for (const { socket, received } of clients) {
    assert.equal(new Set(received).size, COUNT);
    assert.equal(socket.io.engine.transport.name, mode === 'polling' ? 'polling' : 'websocket');
  }
  const closed = clients.map(({ socket }) => new Promise(resolve => socket.io.engine.once('close', resolve)));
  clients.forEach(({ socket }) => socket.disconnect());
  await Promise.all(closed);
  console.log([...nodes].sort().join(' '));
}

setTimeout(() => { console.log('too late'); process.exit(1); }, 40000).unref();
run().catch(error => { console.log(error.stack || error); process.exit(1); });
