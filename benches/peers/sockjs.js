// DDP on sockjs-node and faye-websocket, the stack that Meteor's server stands on. Each client's
// message is printed for itself, as Meteor does; there is no merge box and no copy of the value, so
// it is kinder than Meteor.
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

// Who is shown the one document.
const shown = new Set();

const methods = {
  echo: (value) => value,
  change: (fields) => {
    for (const send of shown) send({ msg: 'changed', collection: 'things', id: 'one', fields });
  },
};

const ddp = sockjs.createServer({ log() {}, jsessionid: false, heartbeat_delay: 45000, disconnect_delay: 60000 });
ddp.on('connection', (connection) => {
  const send = (message) => connection.write(JSON.stringify(message));
  const stops = new Map();
  function stop(id) {
    stops.get(id)?.();
    stops.delete(id);
    send({ msg: 'nosub', id });
  }
  connection.on('data', async (text) => {
    const message = JSON.parse(text);
    if (message.msg === 'connect') send({ msg: 'connected', session: String(Math.random()) });
    if (message.msg === 'ping') send({ msg: 'pong' });
    if (message.msg === 'unsub') stop(message.id);
    if (message.msg === 'method') {
      const result = methods[message.method](...message.params);
      send({ msg: 'updated', methods: [message.id] });
      send({ msg: 'result', id: message.id, result });
    }
    if (message.msg !== 'sub') return;
    if (message.name === 'document') {
      send({ msg: 'added', collection: 'things', id: 'one', fields: { name: 'thing' } });
      shown.add(send);
      stops.set(message.id, () => shown.delete(send));
    }
    if (message.name !== 'feed') return send({ msg: 'ready', subs: [message.id] });
    const [collection, { channel: name }] = message.params;
    const channel = follow(name);
    const subscription = { send, collection };
    await channel.followed;
    send({ msg: 'added', collection, id: 'id', fields: {} });
    send({ msg: 'ready', subs: [message.id] });
    channel.subscriptions.add(subscription);
    stops.set(message.id, () => {
      channel.subscriptions.delete(subscription);
      send({ msg: 'removed', collection, id: 'id' });
      if (channel.subscriptions.size > 0) return;
      channels.delete(name);
      redis.unsubscribe(name);
    });
  });
  connection.on('close', () => stops.forEach((stop) => stop()));
});

const listener = http.createServer();
ddp.installHandlers(listener, { prefix: '/sockjs' });
listener.listen({ host: '127.0.0.1', port: Number(process.env.PORT), backlog: 4096 });
