// One client of Socket.IO against a broker: node scenario.js URL client1|client2|client4 polling|websocket|upgrade
// Prints "done" if all that docs/protocol.md §5 promises came, in its order.
'use strict';
const assert = require('node:assert/strict');
const [url, version, mode] = process.argv.slice(2);
const io = require(version);
const transports = mode === 'upgrade' ? ['polling', 'websocket'] : [mode];
const text = 'Zoë – 電話 \u{1F4DE}';

const socket = io(url, { transports, forceNew: true });
const events = [];
const waiting = [];
const onevent = socket.onevent;
socket.onevent = function (packet) {
  // Called for every event, also for those without a handler.
  const next = waiting.shift();
  next ? next(packet.data) : events.push(packet.data);
  onevent.call(this, packet);
};
const read = () => (events.length ? Promise.resolve(events.shift()) : new Promise(resolve => waiting.push(resolve)));
const ask = (event, ...data) => new Promise(resolve => socket.emit(event, ...data, (...answer) => resolve(answer)));
const expect = async (event, data) => assert.deepEqual(await read(), [event, data]);

async function run() {
  const [event, welcome] = await read();
  assert.equal(event, 'welcome');
  assert.equal(welcome.name, 'dmb');
  assert.equal(welcome.id, socket.id);

  assert.deepEqual(await ask('subscribe', 'calls'), [true]);
  await expect('joined', 'calls');
  const [isJoined, joined] = await ask('join', ['number:1', 'internal']);
  assert.deepEqual([isJoined, joined.rooms], [true, ['number:1', 'internal']]);
  await expect('joined', 'number:1');
  await expect('joined', 'internal');

  const [isDone, { id }] = await ask('call', { text, _in: ['number:1'] });
  assert.ok(isDone && id.length === 36);
  await expect('call', { text, _in: ['number:1'] });

  socket.emit('shout', text);
  await expect('shouted', { id: socket.id, data: text });
  socket.emit('notify_users', [text]);
  await expect('notify', [text]);
  assert.deepEqual(await ask('configure', { calls: false, traces: true }), [true, { calls: false, traces: true }]);
  await expect('configured', { calls: false, traces: true });
  socket.emit('dmb:pong', 1);
  await expect('pong', 1);

  const [isRefused, refusal] = await ask('no_such_event', 1);
  assert.equal(isRefused, false);
  assert.equal(refusal.code, 'unknown_event');
  socket.emit('subscribe', 'not a room');
  assert.equal((await read())[1].code, 'bad_name');
  const [isTaken, { code }] = await ask('trace', Buffer.from('binary'));
  assert.deepEqual([isTaken, code], [false, 'bad_frame']);

  // More than one response of polling carries, and all in order.
  for (let i = 0; i < 100; i++) {
    socket.emit('trace', { i, text });
  }
  for (let i = 0; i < 100; i++) {
    await expect('trace', { i, text });
  }

  if (mode === 'upgrade' && socket.io.engine.transport.name !== 'websocket') {
    await new Promise(resolve => socket.io.engine.once('upgrade', resolve));
  }
  assert.equal(socket.io.engine.transport.name, mode === 'polling' ? 'polling' : 'websocket');
  assert.deepEqual(await ask('leave', 'internal'), [true]);
  await expect('left', 'internal');
  socket.disconnect();
}

setTimeout(() => { console.log('too late; unread: ' + JSON.stringify(events.slice(0, 5))); process.exit(1); }, 40000).unref();
run().then(() => console.log('done'), error => { console.log(error.stack); process.exit(1); });
