// A `subscribe` event joins a room, POST /pub/{room} sends its body there; with a second port, over that Redis.
const http = require('node:http');
const { Server } = require('socket.io');

const [port, redisPort] = process.argv.slice(2).map(Number);

const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', part => parts.push(part));
  request.on('end', () => {
    io.to(request.url.slice(5)).emit('report_csr', JSON.parse(Buffer.concat(parts)));
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': 11 });
    response.end('{"ok":true}');
  });
});
server.keepAliveTimeout = 600000;

const io = new Server(server, { perMessageDeflate: false });
if (redisPort) {
  const { createAdapter } = require('@socket.io/redis-adapter');
  const Redis = require('ioredis');
  io.adapter(createAdapter(new Redis(redisPort, '127.0.0.1'), new Redis(redisPort, '127.0.0.1')));
}
io.on('connection', socket => {
  socket.on('subscribe', async (room, ack) => {
    await socket.join(room);
    ack(true);
  });
});

server.listen({ port, host: '127.0.0.1', backlog: 4096 });
