// One client of `bench clients`: receive.mjs dmb|socketio URL MODULE, with the module of @dmb/client. It says `ready`
// once it is in its room, and answers each line with the number of messages so far.

import { createInterface } from 'node:readline';
import { io } from 'socket.io-client';
import WebSocket from 'ws';

const [, , way, url, module] = process.argv, room = 'endpoint:1234';
let count = 0;
if (way === 'dmb') {
  const { Dmb } = await import(module);
  const dmb = new Dmb(url, { WebSocket, transport: 'ws', rooms: [room] });
  dmb.on('message', ({ data }) => { count += data.from === '15005551234' ? 1 : 0; });
  await dmb.connected();
} else {
  const socket = io(url, { transports: ['websocket'] });
  socket.on('call', data => { count += data.from === '15005551234' ? 1 : 0; });
  await socket.emitWithAck('subscribe', room);
}
console.log('ready');
for await (const _ of createInterface({ input: process.stdin })) { console.log(count); }
process.exit();
