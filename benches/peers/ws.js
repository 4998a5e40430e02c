// Plain WebSocket fan-out: what a Redis channel gets goes to all sockets whose path names the
// channel.
const { WebSocketServer } = require('ws');
const Redis = require('ioredis');

const redis = new Redis(process.env.REDIS_URL);
const channels = new Map();

function follow(name) {
  let channel = channels.get(name);
  if (!channel) {
    channel = { sockets: new Set(), followed: redis.subscribe(name) };
    channels.set(name, channel);
  }
  return channel;
}

redis.on('messageBuffer', (name, payload) => {
  for (const socket of channels.get(name.toString()).sockets) socket.send(payload, { binary: false });
});

const server = new WebSocketServer({
  host: '127.0.0.1', port: Number(process.env.PORT), backlog: 4096, perMessageDeflate: false, clientTracking: false,
});
server.on('connection', (socket, request) => {
  const channel = follow(request.url.slice(1));
  channel.sockets.add(socket);
  socket.on('close', () => channel.sockets.delete(socket));
  socket.on('error', () => socket.terminate());
  channel.followed.then(() => socket.send('ready'));
});
