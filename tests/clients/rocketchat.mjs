// @rocket.chat/ddp-client 1.1.2, Rocket.Chat's own SDK, with `ws` in the place of a browser's
// WebSocket. It connects, calls methods, is told of the documents of a publication, gets every
// event of a Vent once and in order in both encodings, and none after it has stopped. When the
// connection is lost it comes back by itself and subscribes again under the same subscription ids.
//
// Every event: `sdk.client.onCollection(vent, f)` for a Vent id that is a collection; in the
// encoding of redis-oplog, which names no collection, the same call with 'undefined'. It keeps no
// documents and decodes nothing.

import { Documents, encoding, load, server } from './harness.mjs';
import { drive } from './scenario.mjs';

// In a browser an error event that nobody listens to is no exception.
globalThis.WebSocket = class extends load('ws') {
  constructor(url) {
    super(url);
    this.on('error', () => {});
  }
};

const { DDPSDK } = load('@rocket.chat/ddp-client');

// It appends `/websocket` itself.
const sdk = DDPSDK.create(server.origin, { retryCount: 50, retryTime: 20 });

const documents = new Documents();
for (const collection of ['things', 'list']) sdk.client.onCollection(collection, documents.take);
sdk.connection.on('disconnected', documents.forget);

await drive({
  date: { $date: 5000 },
  connect: () => sdk.connection.connect(),
  call: (method, ...params) => sdk.client.callAsync(method, ...params),
  subscribe: (name, ...params) => sdk.client.subscribe(name, ...params),
  ready: (handle) => handle.ready(),
  stop: (handle) => sdk.client.unsubscribe(handle.id),

  onEvent(vent, publication, f) {
    if (encoding === 'collection') {
      sdk.client.onCollection(vent, ({ msg, fields }) => msg === 'changed' && f(fields.event));
      return;
    }
    sdk.client.onCollection('undefined', ({ id, e }) => id === `${vent}.${publication}` && f(e));
  },

  documents: (collection) => documents.in(collection),
  // Its `ready` has been resolved and does not ask a second time; whoever listens for changes is
  // told.
  again: (handle) => new Promise((resolve) => handle.onChange(resolve)),
});
