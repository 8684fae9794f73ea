// Clients that lose their node and recover on another one: node recover.js FIRST SECOND COUNT LAST
// Each is in a room of its own and in one of all. Prints "joined" when all are; after message LAST of both rooms a
// line of JSON: how many were recovered, and what they lost or got twice.
'use strict';
const io = require('client4');
const [first, second] = process.argv.slice(2);
const [COUNT, LAST] = process.argv.slice(4).map(Number);

function open(i) {
  const socket = io(first, {
    transports: [['websocket'], ['polling'], ['polling', 'websocket']][i % 3],
    auth: { recovery: true }, forceNew: true, reconnectionDelay: 10, reconnectionDelayMax: 200,
  });
  const client = { socket, numbers: { own: [], all: [] }, isRecovered: null, joins: 0 };
  client.joined = new Promise(resolve => {
    socket.on('connect', () => {
      if (client.joins++) {
        client.isRecovered = socket.recovered;
      } else {
        socket.emit('join', ['own:' + i, 'all:1'], () => resolve());
      }
    });
  });
  socket.on('disconnect', () => { socket.io.uri = second; });
  client.done = new Promise(resolve => {
    socket.on('trace', ({ n, room }) => {
      client.numbers[room].push(n);
      if (client.numbers.own.includes(LAST) && client.numbers.all.includes(LAST)) {
        resolve();
      }
    });
  });
  return client;
}

async function run() {
  const clients = Array.from({ length: COUNT }, (_, i) => open(i));
  await Promise.all(clients.map(({ joined }) => joined));
  console.log('joined');
  await Promise.all(clients.map(({ done }) => done));
  const wrong = [];
  for (const [i, { numbers }] of clients.entries()) {
    for (const [room, got] of Object.entries(numbers)) {
      if (got.length !== LAST + 1 || got.some((n, at) => n !== at)) {
        wrong.push({ i, room, got: got.filter((n, at) => n !== at).slice(0, 5), length: got.length });
      }
    }
  }
  console.log(JSON.stringify({ recovered: clients.filter(({ isRecovered }) => isRecovered).length, wrong }));
  process.exit(0);
}

setTimeout(() => { console.log('too late'); process.exit(1); }, 50000).unref();
run().catch(error => { console.log(error.stack || error); process.exit(1); });
