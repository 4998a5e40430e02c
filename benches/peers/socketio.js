// Socket.IO with its Redis adapter: a client joins the room that is its channel.
const http = require('http');
const { Server } = require('socket.io');
const { createAdapter } = require('@socket.io/redis-adapter');
const Redis = require('ioredis');

const publishing = new Redis(process.env.REDIS_URL);
const listener = http.createServer();
const server = new Server(listener, {
  adapter: createAdapter(publishing, publishing.duplicate()),
  perMessageDeflate: false,
  transports: ['websocket'],
});
// As its guide advises for memory: the request is not needed once a connection is made.
server.engine.on('connection', (connection) => { connection.request = null; });
server.on('connection', (socket) => {
  socket.on('join', async (room) => {
    await socket.join(room);
    socket.emit('joined');
  });
});
listener.listen({ host: '127.0.0.1', port: Number(process.env.PORT), backlog: 4096 });
