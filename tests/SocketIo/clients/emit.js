// Messages of @socket.io/redis-emitter: node emit.js REDIS_PORT
// Prints "done" when Redis has all of them.
'use strict';
const net = require('node:net');
const { Emitter } = require('@socket.io/redis-emitter');

const redis = net.connect(Number(process.argv[2]), '127.0.0.1');
const bulk = part => {
  const bytes = Buffer.from(part);
  return Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')]);
};
let published = 0;
let answers = '';
const emitter = new Emitter({
  publish(channel, message) {
    published++;
    redis.write(Buffer.concat([Buffer.from('*3\r\n'), bulk('PUBLISH'), bulk(channel), bulk(message)]));
  },
});

const data = {
  text: 'Zoë – 電話 \u{1F4DE}', long: 'x'.repeat(300), none: null, yes: true, no: false, half: -0.5,
  numbers: [0, 127, 128, 255, 256, 65535, 65536, 4294967296, 9007199254740991, -1, -32, -33, -129, -32769, -2147483649],
  many: Array.from({ length: 20 }, (_, n) => ({ n })), empty: {},
};
emitter.emit('call', data);
emitter.to('support').emit('call', { n: 1 });
emitter.to('support').emit('call', { n: 1 });
emitter.to(['a:1', 'a:2']).emit('call', { n: 2 });
emitter.to('support').emit('call');
// What has no form here.
emitter.to('support').except('a:1').emit('call', { n: -1 });
emitter.to('support').emit('call', { n: -2 }, 'more');
emitter.to('support').emit('call', { bytes: Buffer.from([1, 2]) });
emitter.to('no room').emit('call', { n: -3 });
emitter.to('support').emit('not_registered', { n: -4 });
emitter.of('/chat').to('support').emit('call', { n: -5 });
emitter.to('support').emit('call', 'last');

redis.on('data', received => {
  answers += received;
  if (answers.split('\r\n').length > published) {
    console.log('done');
    redis.end();
  }
});
