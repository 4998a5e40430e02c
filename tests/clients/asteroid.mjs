// asteroid 2.0.3 with `ws`, over ddp.js. It connects, calls methods, passes on the documents of a
// publication, gets every event of a Vent once and in order in both encodings, and none after it
// has stopped. When the connection is lost it comes back by itself (`reconnectInterval`, 10 s by
// default) and subscribes again under the same subscription ids.
//
// Every event: `asteroid.ddp.on('changed', f)` in both encodings. It keeps no documents and decodes
// nothing.

import { Documents, eventsOf, load, server } from './harness.mjs';
import { drive } from './scenario.mjs';

const { createClass } = load('asteroid');
const Asteroid = createClass();

const client = new Asteroid({
  endpoint: server.href,
  SocketConstructor: load('ws'),
  autoConnect: false,
  reconnectInterval: 100,
});

const documents = new Documents();
for (const kind of ['added', 'changed', 'removed']) client.ddp.on(kind, documents.take);

await drive({
  date: { $date: 5000 },

  connect() {
    const connected = new Promise((resolve) => client.once('connected', resolve));
    client.connect();
    return connected;
  },

  call: (method, ...params) => client.call(method, ...params),
  subscribe: (name, ...params) => client.subscribe(name, ...params),

  ready: (handle) =>
    new Promise((resolve, reject) => {
      handle.once('ready', resolve);
      handle.once('error', reject);
    }),

  stop(handle) {
    const gone = new Promise((resolve) => client.ddp.on('nosub', ({ id }) => id === handle.id && resolve()));
    client.unsubscribe(handle.id);
    return gone;
  },

  onEvent: (vent, publication, f) => client.ddp.on('changed', eventsOf(vent, publication, f)),
  documents: (collection) => documents.in(collection),
  again: (handle) => new Promise((resolve) => handle.once('ready', resolve)),
});
