// DDP on sockjs-node and faye-websocket, the stack that Meteor's server stands on. Each client's message is printed for
// itself, as Meteor does; there is no merge box and no copy of the value, so it is kinder than Meteor.
const http = require('http');
const sockjs = require('sockjs');
const Redis = require('ioredis');

const redis = new Redis(process.env.REDIS_URL);
const channels = new Map();

function follow(name) {
  let channel = channels.get(name);
  if (!channel) {
    channel = { subscriptions: new Set(), followed: redis.subscribe(name) };
    channels.set(name, channel);
  }
  return channel;
}

redis.on('message', (name, payload) => {
  const event = JSON.parse(payload);
  for (const { send, collection } of channels.get(name).subscriptions) {
    send({ msg: 'changed', collection, id: 'id', fields: { event } });
  }
});

const ddp = sockjs.createServer({ log() {}, jsessionid: false, heartbeat_delay: 45000, disconnect_delay: 60000 });
ddp.on('connection', (connection) => {
  const send = (message) => connection.write(JSON.stringify(message));
  const stops = [];
  connection.on('data', async (text) => {
    const message = JSON.parse(text);
    if (message.msg === 'connect') send({ msg: 'connected', session: String(Math.random()) });
    if (message.msg === 'ping') send({ msg: 'pong' });
    if (message.msg !== 'sub') return;
    const [collection, { channel: name }] = message.params;
    const channel = follow(name);
    const subscription = { send, collection };
    await channel.followed;
    send({ msg: 'added', collection, id: 'id', fields: {} });
    send({ msg: 'ready', subs: [message.id] });
    channel.subscriptions.add(subscription);
    stops.push(() => channel.subscriptions.delete(subscription));
  });
  connection.on('close', () => stops.forEach((stop) => stop()));
});

const listener = http.createServer();
ddp.installHandlers(listener, { prefix: '/sockjs' });
listener.listen({ host: '127.0.0.1', port: Number(process.env.PORT), backlog: 4096 });
