// ddp.js 2.2.1 with `ws`, a thin layer over the protocol. It connects, calls methods, passes on the
// documents of a publication, gets every event of a Vent once and in order in both encodings, and
// none after it has stopped. When the connection is lost it comes back by itself
// (`reconnectInterval`, 10 s by default); subscribing again is left to the program.
//
// Every event: `ddp.on('changed', f)` in both encodings. It keeps no documents and decodes nothing.

import { Documents, eventsOf, load, server } from './harness.mjs';
import { drive } from './scenario.mjs';

const { default: DDP } = load('ddp.js');

const ddp = new DDP({
  endpoint: server.href,
  SocketConstructor: load('ws'),
  autoConnect: false,
  reconnectInterval: 100,
});

const documents = new Documents();
for (const kind of ['added', 'changed', 'removed']) ddp.on(kind, documents.take);

/** Who waits for the answer to a method, a subscription or an end of one; they share their ids. */
const waiting = new Map();
ddp.on('result', ({ id, error, result }) => settle(id, error, result));
ddp.on('ready', ({ subs }) => subs.forEach((id) => settle(id)));
ddp.on('nosub', ({ id, error }) => settle(id, error));

await drive({
  date: { $date: 5000 },

  connect() {
    const connected = new Promise((resolve) => ddp.once('connected', resolve));
    ddp.connect();
    return connected;
  },

  call: (method, ...params) => answer(ddp.method(method, params)),
  subscribe,
  ready: (handle) => handle.ready,
  stop: (handle) => answer(ddp.unsub(handle.id)),
  onEvent: (vent, publication, f) => ddp.on('changed', eventsOf(vent, publication, f)),
  documents: (collection) => documents.in(collection),

  again: ({ name, params }) =>
    new Promise((resolve, reject) => {
      ddp.once('connected', () => subscribe(name, ...params).ready.then(resolve, reject));
    }),
});

function subscribe(name, ...params) {
  const id = ddp.sub(name, params);
  const ready = answer(id);
  // Whoever cares asks for it; until then a refusal is not an accident.
  ready.catch(() => {});
  return { id, name, params, ready };
}

function answer(id) {
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

function settle(id, error, result) {
  const { resolve, reject } = waiting.get(id);
  if (error) reject(error);
  else resolve(result);
}
