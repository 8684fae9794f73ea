// The driver of this client for ../conformance: commands come as lines of JSON, events and answers go the same way.

import { createInterface } from 'node:readline';
import { Dmb } from '@dmb/client';
import WebSocket from 'ws';

const tell = value => process.stdout.write(JSON.stringify(value) + '\n');
let dmb, token;

const commands = {
  open({ urls, token: first, blocked, ...options }) {
    token = first;
    dmb = new Dmb(urls, {
      ...options,
      backoffMs: 50,
      WebSocket: blocked ? class { constructor() { throw new Error('blocked'); } } : WebSocket,
      ...first && { token: () => { tell({ asked: {} }); return token; } },
    });
    for (const type of ['message', 'gap', 'resumed', 'state', 'uplink', 'event']) {
      dmb.on(type, value => tell({ [type]: value }));
    }
    dmb.on('error', ({ code }) => tell({ error: { code } }));
  },
  token: ({ token: next }) => { token = next; },
  join: ({ rooms }) => dmb.join(rooms),
  leave: ({ rooms }) => dmb.leave(rooms),
  enter: ({ service, user }) => dmb.enter(service, user),
  send: ({ event, data }) => dmb.send(event, data),
  say: ({ data }) => dmb.say(data),
  broadcast: ({ data }) => dmb.broadcast(data),
  direct: ({ user, data }) => dmb.direct(user, data),
  positions: () => dmb.positions,
  bkid: () => dmb.bkid,
  close: () => dmb.close(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: name, ...rest } = JSON.parse(line);
  Promise.resolve().then(() => commands[name](rest))
    .then(data => tell({ answer: id, data: data ?? null }), error => tell({ answer: id, error: { code: error.code } }));
}
dmb?.close();
