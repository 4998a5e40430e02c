// simpleddp 2.2.4 with `ws`, driven as its documentation says. It connects, calls methods, keeps
// the documents of a publication, gets every event of a Vent once and in order in both encodings,
// and none after it has stopped. When the connection is lost it comes back by itself, unsubscribes
// its old subscription ids, and subscribes under new ones.
//
// Every event: `client.collection(vent).onChange(f)` for a Vent id that is a collection (`fetch()`
// has the latest event only); `client.on('changed', f)` for the encoding of redis-oplog. It decodes
// dates.

import { encoding, eventsOf, load, server } from './harness.mjs';
import { drive } from './scenario.mjs';

const SimpleDDP = load('simpleddp');

const client = new SimpleDDP({
  endpoint: server.href,
  SocketConstructor: load('ws'),
  reconnectInterval: 100,
});

await drive({
  date: new Date(5000),
  // It waits for `ready` itself as well, without a thought of refusal.
  leaves: ({ error }) => error === 'invalid-arguments',
  connect: () => client.connect(),
  call: (method, ...params) => client.call(method, ...params),
  subscribe: (name, ...params) => client.subscribe(name, ...params),
  ready: (handle) => handle.ready(),
  stop: (handle) => handle.stop(),

  onEvent(vent, publication, f) {
    if (encoding === 'collection') {
      client.collection(vent).onChange(({ changed }) => changed && f(changed.fieldsChanged.event));
      return;
    }
    client.on('changed', eventsOf(vent, publication, f));
  },

  documents(collection) {
    const found = client.collection(collection).fetch();
    return Object.fromEntries(found.map(({ id, ...fields }) => [id, fields]));
  },

  again: (handle) =>
    new Promise((resolve) => client.on('ready', ({ subs }) => subs.includes(handle.subscriptionId) && resolve())),
});
