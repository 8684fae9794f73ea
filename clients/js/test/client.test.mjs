// The client against a node of this file, which answers as a test wants it to.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { Dmb } from '@dmb/client';
import WebSocket, { WebSocketServer } from 'ws';

const welcome = { event: 'welcome', data: { id: 's1', limits: { ping_s: 25, silent_s: 45 } } };
const open = t => {
  t.mock.method(Math, 'random', () => 0.5);
  return startNode(t);
};

/** A node: `answer` gives the answer to a request, `socket` is the last connection, `frames` what came on all. */
async function startNode(t) {
  const http = createServer((_, response) => response.writeHead(404).end());
  const server = new WebSocketServer({ server: http });
  const node = { frames: [], socket: null, answer: ({ data }) => ({ ok: true, data }) };
  server.on('connection', socket => {
    node.socket = socket;
    node.send = frame => socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
    node.send(welcome);
    socket.on('message', text => {
      const frame = JSON.parse(text);
      node.frames.push(frame);
      const answer = node.answer(frame);
      if (answer) { node.send({ ack: frame.ack, ...answer }); }
    });
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  t.after(() => { server.clients.forEach(client => client.terminate()); http.close(); });
  node.url = `http://127.0.0.1:${http.address().port}`;
  return node;
}

const connect = (t, url, options) => {
  const dmb = new Dmb(url, { WebSocket, transport: 'ws', backoffMs: 10, ...options });
  t.after(() => dmb.close());
  return dmb;
};
const next = (dmb, type, wanted = () => true) =>
  new Promise(done => { const end = dmb.on(type, value => { if (wanted(value)) { end(); done(value); } }); });

// First: while its clock stands still, no timer of another test could be cleared.
const skip = process.version.startsWith('v18.') && 'the timers that Node.js 18 mocks do not fire as its own do';
test('a token that could not be renewed is asked for again', { skip }, async t => {
  const node = await open(t);
  let asked = 0;
  node.answer = () => ({ ok: true, data: { expires: new Date(Date.now() + 70_000).toISOString() } });
  const token = () => { if (++asked === 2) { throw new Error('no login'); } return 'token ' + asked; };
  const shown = () => node.frames.filter(({ event }) => event === 'auth').map(({ data }) => data.token);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const dmb = connect(t, node.url, { token });
  await next(dmb, 'state', ({ state }) => state === 'connected');

  const failed = next(dmb, 'error');
  t.mock.timers.tick(41_000);
  assert.equal((await failed).message, 'no login');
  t.mock.timers.tick(30_000);
  while (shown().length < 2) { await new Promise(setImmediate); }
  assert.deepEqual(shown(), ['token 1', 'token 3']);
});

test('a clock that is wrong or jumps neither ends the connection nor asks for tokens without end', { skip }, async t => {
  const node = await open(t), ends = ['1999-01-01T00:00:00Z', '9999-12-31T23:59:59Z'];
  let asked = 0;
  node.answer = ({ event }) => ({ ok: true, data: event === 'auth' ? { expires: ends[asked - 1] } : {} });
  const shown = () => node.frames.filter(({ event }) => event === 'auth').length;
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const dmb = connect(t, node.url, { token: () => `${++asked}` });
  await next(dmb, 'state', ({ state }) => state === 'connected');

  t.mock.method(Date, 'now', () => 4e12);
  t.mock.timers.tick(29_000);
  assert.equal(asked, 1);
  t.mock.timers.tick(1_500);
  while (shown() < 2) { await new Promise(setImmediate); }
  node.send({ event: 'call', id: '1' });
  await next(dmb, 'message');
  t.mock.method(Date, 'now', () => 1e12);
  t.mock.timers.tick(60_000);
  assert.equal(asked, 2);
  assert.equal(dmb.state.state, 'connected');
});

test('what a lying node sends changes nothing: the next message arrives', async t => {
  const node = await open(t), dmb = connect(t, node.url, { rooms: ['a:1'] }), messages = [], errors = [];
  dmb.on('message', message => messages.push(message));
  dmb.on('error', error => errors.push(error.code));
  await dmb.connected();

  const good = '{"event":"call","data":{"a":[1,"ä"]},"id":"1","room":"a:1","pos":"k3f9:431","also":{"b:2":"x:1"}}';
  const lies = [
    '', 'null', '42', '"x"', '[]', '{}', '{"event":7}', '{"ack":99,"ok":true}', '{"ack":{},"ok":false}', '{"ack":1e999}',
    '{"event":"gap"}', '{"event":"gap","data":null}', '{"event":"bye","data":7}', '{"event":"welcome","data":null}',
    '{"event":"call","id":"2","room":"a:1"}', '{"event":"call","id":"3","room":"a:1","pos":"x"}',
    '{"event":"call","id":"4","room":7,"pos":7}', '{"__proto__":{"x":1},"event":"constructor"}',
    '{"event":"call","id":"5","room":"a:1","pos":"k:1","also":{"b":null}}',
  ];
  for (let i = 0; i < good.length; i++) {
    lies.push(good.slice(0, i), good.slice(0, i) + '}' + good.slice(i + 1));
  }
  lies.forEach(node.send);
  const last = next(dmb, 'message', ({ id }) => id === 'last');
  node.send({ event: 'call', data: 'last', id: 'last' });
  await last;

  assert.equal(dmb.state.state, 'connected');
  assert.ok(errors.length > good.length && errors.every(code => code === 'bad_frame'), `${errors}`);
  assert.equal({}.x, undefined);
});

test('what a lying node says in a stream changes nothing: the next message arrives', async t => {
  const said = ['id: a:1=k:1', 'data: {', 'event: call', 'event: call\ndata: {"n":', 'id: a:1=x\nevent: call\ndata: 1',
    'event: gap\ndata: null', 'event: bye\ndata: 7', 'retry: soon\nno field\n: a comment',
    'id: 1\nevent: call\ndata: "first"', 'id: last\nevent: call\ndata: "last"', ''];
  const http = createServer((_, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write(said.join('\n\n'));
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  t.after(() => { http.closeAllConnections(); http.close(); });
  const dmb = connect(t, `http://127.0.0.1:${http.address().port}`, { transport: 'sse', rooms: ['a:1'] });
  const data = [], errors = [];
  dmb.on('message', message => data.push(message.data));
  dmb.on('error', error => errors.push(error.code));
  await next(dmb, 'message', ({ id }) => id === 'last');
  assert.deepEqual(data, ['first', 'last']);
  assert.ok(errors.length > 1 && errors.every(code => code === 'bad_frame'), `${errors}`);
  assert.equal(dmb.state.state, 'connected');
});

test('a room that is heard by a pattern alone has no position', async t => {
  const node = await open(t), dmb = connect(t, node.url, { rooms: ['a:1', 'a:*'] });
  await dmb.connected();
  node.send({ event: 'call', id: '1', room: 'a:1', pos: 'k:7', also: { 'a:3': 'k:1' } });
  node.send({ event: 'call', id: '2', room: 'a:2', pos: 'k:9' });
  await next(dmb, 'message', ({ id }) => id === '2');
  assert.deepEqual(dmb.positions, { 'a:1': 'k:7' });
});

test('what is replayed, and came before, is not told again', async t => {
  const node = await open(t), dmb = connect(t, node.url, { rooms: ['a:1', 'a:2'] }), told = [];
  dmb.on('message', ({ id }) => told.push(id));
  const positions = (...places) => places.map((pos, i) => ({ room: `a:${i + 1}`, pos, recovered: true }));
  node.answer = () => ({ ok: true, data: { positions: [{ room: 'a:1', pos: 'k:0' }, { room: 'a:2', pos: 'k:0' }] } });
  await dmb.connected();
  node.send({ event: 'call', id: '1', room: 'a:1', pos: 'k:1' });
  node.send({ event: 'call', id: '2' });
  await next(dmb, 'message', ({ id }) => id === '2');

  node.answer = () => ({ ok: true, data: { positions: positions('k:1', 'k:3') } });
  node.socket.terminate();
  await next(dmb, 'state', ({ state }) => state === 'connected');
  ['1', '3', '2'].forEach((id, i) => node.send({ event: 'call', id, room: 'a:2', pos: `k:${i + 1}` }));
  node.send({ event: 'call', id: 'last' });
  await next(dmb, 'message', ({ id }) => id === 'last');
  assert.deepEqual(told, ['1', '2', '3', 'last']);
});

test('limits that are none are not believed', async t => {
  const node = await open(t), frames = node.frames;
  const lie = { ...welcome, data: { id: 's2', limits: { ping_s: -1, silent_s: 'x', rooms_per_subscribe: 0 } } };
  const dmb = connect(t, node.url, { rooms: ['a:1', 'a:2'] });
  await dmb.connected();
  frames.length = 0;
  const again = next(dmb, 'state', ({ state }) => state === 'connected');
  node.send(lie);
  await again;
  assert.deepEqual(frames.filter(({ event }) => event === 'subscribe').map(({ data }) => data.length), [1, 1]);
});

test('the backoff is a random part of a time that doubles up to its limit', async t => {
  const node = await open(t), waits = [];
  Math.random.mock.mockImplementation(() => 0.999);
  node.answer = ({ event }) => event === 'subscribe' ? void node.socket.terminate() : { ok: true };
  const dmb = connect(t, node.url, { rooms: ['a:1'], backoffMs: 4, backoffMaxMs: 20 });
  await next(dmb, 'state', ({ inMs }) => inMs !== undefined && waits.push(inMs / 0.999) === 4);
  assert.deepEqual(waits.map(Math.round), [8, 16, 20, 20]);
});

test('a send that timed out, or was aborted, before there was a connection is never sent', async t => {
  const node = await open(t), abort = new AbortController();
  let hasToken = false;
  const token = () => { if (!hasToken) { throw new Error('no token'); } return ''; };
  const dmb = connect(t, node.url, { timeoutMs: 50, token });
  const late = dmb.send('call', 'late'), aborted = dmb.send('call', 'aborted', { signal: abort.signal });
  abort.abort(new Error('not wanted'));
  await assert.rejects(aborted, /not wanted/);
  await assert.rejects(late, { code: 'timeout', retry: true });

  hasToken = true;
  await dmb.connected();
  await dmb.send('call', 'now');
  assert.deepEqual(node.frames.map(({ data }) => data).filter(data => typeof data === 'string'), ['now']);
});

test('a room whose subscribe was cut off is joined by the next connection', async t => {
  const node = await open(t);
  node.answer = ({ event }) => event === 'subscribe' ? void node.socket.terminate() : { ok: true };
  const dmb = connect(t, node.url, { rooms: ['a:1'] });
  await next(dmb, 'state', ({ state }) => state === 'waiting');
  node.answer = ({ data }) => ({ ok: true, data });
  node.frames.length = 0;
  await dmb.connected();
  assert.deepEqual(node.frames, [{ event: 'subscribe', data: [{ room: 'a:1' }], ack: 1 }]);
});

test('a signal closes the client, and what waits for it rejects', async t => {
  const node = await open(t), abort = new AbortController(), dmb = connect(t, node.url, { signal: abort.signal });
  await dmb.connected();
  node.answer = () => null;
  const waiting = dmb.send('call');
  abort.abort();
  await assert.rejects(waiting, { code: 'connection_lost' });
  await assert.rejects(dmb.connected(), { code: 'closed' });
  assert.equal(dmb.state.state, 'closed');
});

test('messages are iterated until the client is closed, and a slow reader is told what it lost', async t => {
  const node = await open(t), dmb = connect(t, node.url), read = [], gaps = [];
  dmb.on('gap', gap => gaps.push(gap));
  await dmb.connected();
  const reading = (async () => {
    for await (const { data } of dmb.messages({ max: 2 })) {
      read.push(data);
      if (data === 0) {
        for (let i = 1; i <= 5; i++) { node.send({ event: 'call', data: i, id: `${i}` }); }
        await next(dmb, 'message', message => message.data === 5);
      } else if (data === 2) { dmb.close(); }
    }
  })();
  await new Promise(setImmediate);
  node.send({ event: 'call', data: 0, id: '0' });
  await reading;
  assert.deepEqual(read, [0, 1, 2]);
  assert.deepEqual(gaps, [{ room: null, lost: 3, why: 'slow_reader' }]);
});
