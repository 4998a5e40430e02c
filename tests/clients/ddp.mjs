// ddp 0.12.1 (node-ddp-client) over its own faye-websocket, which offers no compression. It
// connects, calls methods, keeps the documents of a publication, gets every event of a Vent once
// and in order, and none after it has stopped. When the connection is lost it connects again by
// itself (`autoReconnect`); subscribing again is left to the program.
//
// Every event: `client.observe(vent).changed` for a Vent id that is a collection, of which
// `client.collections` has the latest event only; `client.on('message', text => …)` for the
// encoding of redis-oplog, which it knows nothing about. It decodes dates.

import { encoding, load, server } from './harness.mjs';
import { drive } from './scenario.mjs';

const DDPClient = load('ddp');

const client = new DDPClient({
  host: server.hostname,
  port: Number(server.port),
  autoReconnect: true,
  autoReconnectTimer: 100,
  maintainCollections: true,
});

// It forgets nothing by itself, and would keep what has gone meanwhile.
client.on('socket-close', () => {
  client.collections = {};
});

await drive({
  date: new Date(5000),

  connect() {
    const connected = new Promise((resolve) => client.once('connected', resolve));
    // With a callback it would give up at the first attempt that finds no server.
    client.connect();
    return connected;
  },

  call: (method, ...params) =>
    new Promise((resolve, reject) => {
      client.call(method, params, (error, result) => (error ? reject(error) : resolve(result)));
    }),

  subscribe(name, ...params) {
    const handle = { name, params };
    handle.ready = subscribe(handle);
    return handle;
  },
  ready: (handle) => handle.ready,

  stop(handle) {
    const gone = new Promise((resolve) => {
      client.on('message', (text) => {
        const { msg, id } = JSON.parse(text);
        if (msg === 'nosub' && id === handle.id) resolve();
      });
    });
    client.unsubscribe(handle.id);
    return gone;
  },

  onEvent(vent, publication, f) {
    if (encoding === 'collection') {
      client.observe(vent).changed = (_id, _before, _cleared, fields) => f(fields.event);
      return;
    }
    client.on('message', (text) => {
      const message = JSON.parse(text);
      if (message.__vent === '1' && message.id === `${vent}.${publication}`) f(message.e);
    });
  },

  documents(collection) {
    const found = Object.entries(client.collections[collection] ?? {});
    return Object.fromEntries(found.map(([id, { _id, ...fields }]) => [id, fields]));
  },

  again: (handle) =>
    new Promise((resolve, reject) => client.once('connected', () => subscribe(handle).then(resolve, reject))),
});

function subscribe(handle) {
  const ready = new Promise((resolve, reject) => {
    handle.id = client.subscribe(handle.name, handle.params, (error) => (error ? reject(error) : resolve()));
  });
  // Whoever cares asks for it; until then a refusal is not an accident.
  ready.catch(() => {});
  return ready;
}
