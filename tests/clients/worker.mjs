// Works for a group by the npm package: `node worker.mjs URL HOW COUNT`. It prints what it is given,
// `PAYLOAD DELIVERIES` a line. `hold` is to have so many records and answer none; `work` is to
// acknowledge, and to close behind so many records.

import { createRequire } from 'node:module';

const [, , url, how, count] = process.argv;
const folder = new URL('../../client/', import.meta.url);
const { Client } = await import(new URL('dist/index.js', folder));
const WebSocket = createRequire(new URL('package.json', folder))('ws');

const client = new Client({ targets: url, WebSocket });
client.on('error', (error) => console.log(`error ${error.code}`));
let handled = 0;
await client.consume(
  'orders.work',
  async ({ payload, deliveries }) => {
    console.log(`${payload} ${deliveries}`);
    if (how === 'hold') await new Promise(() => {});
    handled += 1;
    if (handled === Number(count)) setImmediate(() => client.close());
  },
  { credit: how === 'hold' ? Number(count) : 4 },
);
