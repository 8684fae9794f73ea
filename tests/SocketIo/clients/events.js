// All events of docs/protocol.md §4, sent as clients send them: node events.js URL client1|client2|client4 TRANSPORT
// Prints "done" if each has its effect.
'use strict';
const assert = require('node:assert/strict');
const [url, version, transport] = process.argv.slice(2);
const io = require(version);

function open() {
  const socket = io(url, { transports: [transport], forceNew: true });
  const [events, waiting] = [[], []];
  const onevent = socket.onevent;
  socket.onevent = function (packet) {
    // Called for every event, also for those without a handler.
    const next = waiting.findIndex(({ event }) => event === packet.data[0]);
    next < 0 ? events.push(packet.data) : waiting.splice(next, 1)[0].resolve(packet.data[1]);
    onevent.call(this, packet);
  };
  // The data of the next event of that name; others stay to be read.
  socket.next = event => {
    const at = events.findIndex(([name]) => name === event);
    return at < 0
      ? new Promise(resolve => waiting.push({ event, resolve }))
      : Promise.resolve(events.splice(at, 1)[0][1]);
  };
  socket.ask = (...event) => new Promise(resolve => socket.emit(...event, (...answer) => resolve(answer)));
  return socket;
}

async function rooms(socket) {
  const { id } = await socket.next('welcome');
  assert.equal(id, socket.id);
  socket.emit('join', 'everyone');
  assert.equal(await socket.next('joined'), 'everyone');
  socket.emit('subscribe', ['internal', 'support']);
  assert.deepEqual([await socket.next('joined'), await socket.next('joined')], ['internal', 'support']);
  socket.emit('leave', 'support');
  assert.equal(await socket.next('left'), 'support');
  socket.emit('unsubscribe', ['support']);
  assert.equal(await socket.next('left'), 'support');

  const buses = { dial_calls: true, locations: true, traces: true, calls: true };
  socket.emit('configure', buses);
  assert.deepEqual(await socket.next('configured'), buses);

  socket.emit('shout', { text: 'hello' });
  assert.deepEqual(await socket.next('shouted'), { id: socket.id, data: { text: 'hello' } });
  socket.emit('notify_users', [1, 'two']);
  assert.deepEqual(await socket.next('notify'), [1, 'two']);

  const fax = { event: 'fax', default_room: 'calls' };
  assert.deepEqual(await socket.ask('register', fax), [true, { ...fax, already_registered: false }]);
  assert.deepEqual(await socket.ask('register', fax), [true, { ...fax, already_registered: true }]);
  socket.emit('fax', { pages: 2 });
  assert.deepEqual(await socket.next('fax'), { pages: 2 });
  await socket.ask('join', 'number:1');
  socket.emit('trace', { _in: ['number:1'], n: 1 });
  assert.deepEqual(await socket.next('trace'), { _in: ['number:1'], n: 1 });

  socket.emit('dmb:ping', 1);
  assert.equal(await socket.next('ping'), 1);
  socket.emit('dmb:pong', 2);
  assert.equal(await socket.next('pong'), 2);
  if (version === 'client4') {
    // Older clients fire these locally and send neither.
    socket.emit('ping', 3);
    assert.equal(await socket.next('ping'), 3);
    socket.emit('pong', 4);
    assert.equal(await socket.next('pong'), 4);
  }
  assert.deepEqual(await socket.ask('dmb:ping'), [true, {}]);
}

async function services(backend, user) {
  await Promise.all([backend.next('welcome'), user.next('welcome')]);
  const [isBackend, { bkid }] = await backend.ask('dmb:reconnect', { name: 'desk' });
  assert.ok(isBackend);
  assert.equal((await backend.next('dmb:connected')).bkid, bkid);
  const [isUser, joined] = await user.ask('dmb:connect', { service: bkid, user: 'ann' });
  assert.ok(isUser);
  assert.deepEqual([joined.service, joined.user], [bkid, 'ann']);
  assert.equal((await user.next('dmb:connected')).user, 'ann');

  const uplinks = [];
  const uplink = async type => {
    const found = uplinks.findIndex(message => JSON.stringify(message).includes(type));
    if (found >= 0) {
      return uplinks.splice(found, 1)[0];
    }
    uplinks.push(await backend.next('dmb:uplink'));
    return uplink(type);
  };
  const [isSent, { id }] = await user.ask('dmb:message', { data: { question: 'who?' } });
  assert.ok(isSent && id);
  await uplink('who?');

  const [isBroadcast, broadcast] = await backend.ask('dmb:broadcast', { data: { text: 'all' } });
  assert.ok(isBroadcast && broadcast.id);
  assert.deepEqual(await user.next('dmb:broadcast'), { text: 'all' });
  const [isDirect] = await backend.ask('dmb:direct', { user: 'ann', data: 'only you' });
  assert.ok(isDirect);
  assert.equal(await user.next('dmb:direct'), 'only you');
  const [isForbidden, refusal] = await user.ask('dmb:broadcast', { data: 1 });
  assert.deepEqual([isForbidden, refusal.code], [false, 'forbidden_publish']);

  assert.deepEqual(await user.ask('dmb:disconnect', { service: bkid }), [true, {}]);
  await user.ask('dmb:connect', { service: bkid, user: 'ann' });
  const [isFreed] = await backend.ask('dmb:disconnect');
  assert.ok(isFreed);
  assert.deepEqual(await user.next('dmb:disconnected'), { service: bkid });
}

async function run() {
  const sockets = [open(), open(), open()];
  await rooms(sockets[0]);
  await services(sockets[1], sockets[2]);
  sockets.forEach(socket => socket.disconnect());
}

setTimeout(() => { console.log('too late'); process.exit(1); }, 40000).unref();
run().then(() => console.log('done'), error => { console.log(error.stack); process.exit(1); });
