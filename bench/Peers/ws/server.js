// GET /sub/{room} upgrades to a WebSocket, POST /pub/{room} sends its body to the room.
const http = require('node:http');
const { WebSocketServer } = require('ws');

const rooms = new Map();

const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', part => parts.push(part));
  request.on('end', () => {
    const data = Buffer.concat(parts);
    for (const socket of rooms.get(request.url.slice(5)) ?? []) {
      socket.send(data, { binary: false });
    }
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': 11 });
    response.end('{"ok":true}');
  });
});
server.keepAliveTimeout = 600000;

new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (socket, request) => {
  const room = request.url.slice(5);
  const members = rooms.get(room) ?? rooms.set(room, new Set()).get(room);
  members.add(socket);
  socket.on('error', () => {});
  socket.on('close', () => {
    members.delete(socket);
    if (members.size === 0) {
      rooms.delete(room);
    }
  });
});

server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
