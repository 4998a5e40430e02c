// simpleddp 2.2.4, cut off again and again, as often as it is told. It subscribes once; when its
// connection is lost, it comes back by itself and subscribes with the same parameters.
//
// Started as `node SCRIPT URL PUBLICATION VENT_ID TIMES`. The events are numbers, which must follow
// each other within a connection. At the end of each it asks for the next cut by `> FIRST LAST`, the
// numbers that it got, or `> nothing`.

import { createRequire } from 'node:module';
import path from 'node:path';

const load = createRequire(path.join(process.env.UPDRAFT_CLIENTS, 'package.json'));
const SimpleDDP = load('simpleddp');
const [, , endpoint, publication, vent, times] = process.argv;

const client = new SimpleDDP({ endpoint, SocketConstructor: load('ws'), reconnectInterval: 10 });
let [first, last, lost] = [undefined, undefined, 0];

// A promise of its own about a `ready` that does not come is held by nobody.
process.on('unhandledRejection', (error) => {
  if (error) throw error;
});

client.on('changed', ({ __vent, id, e }) => {
  if (__vent !== '1' || id !== `${vent}.${publication}`) return;
  if (last !== undefined && e !== last + 1) throw new Error(`${e} after ${last}`);
  first ??= e;
  last = e;
});

client.on('disconnected', () => {
  console.log(last === undefined ? '> nothing' : `> ${first} ${last}`);
  [first, last] = [undefined, undefined];
  lost += 1;
  if (lost === Number(times)) process.exit(0);
});

client.subscribe(publication, vent, {});
