// Publishing while there is no connection, and over connections that are lost.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { FileStorage } from '../dist/node.js';
import { codeOf, pause, range, seeded, test, testWithFake, until } from './support/world.mjs';

test('five_hundred_publications_over_random_offline_spans_arrive_once_each', async (world) => {
  const { topic } = world;
  const random = seeded();
  const proxy = await world.proxy(random);
  const client = world.client({ targets: proxy.url });
  // Calls and results are lost at any byte, and sessions with their server.
  proxy.cutting = 0.05;
  const published = [];
  for (const n of range(1, 500)) {
    published.push(client.publish(topic, { n }));
    if (random() < 0.04) {
      await proxy.stop();
      if (random() < 0.5) world.server?.forgetSessions();
      await pause(random() * 10);
      await proxy.start();
    }
    if (random() < 0.2) await pause(random() * 20);
  }
  const offsets = await Promise.all(published);
  assert.equal(new Set(offsets).size, 500);
  const { client: reader, told } = world.watched();
  await reader.subscribe(topic, '0');
  assert.deepEqual(told.numbers, range(1, 500));
  assert.deepEqual(
    told.messages.map(({ offset }) => offset),
    offsets,
  );
});

testWithFake('what_is_published_offline_is_sent_by_the_next_process', async (world) => {
  const { server, topic } = world;
  const folder = await mkdtemp(path.join(tmpdir(), 'updraft-client-'));
  world.after(() => rm(folder, { recursive: true, force: true }));
  await server.stop();
  const { client } = world.watched({ storage: new FileStorage(folder) });
  const codes = range(1, 20).map((n) => codeOf(client.publish(`${topic}${n % 2}`, { n })));
  await until('they are stored', async () => (await stored(folder)) === 20);
  await client.close();
  assert.deepEqual(new Set(await Promise.all(codes)), new Set(['closed']));

  await server.start();
  world.watched({ storage: new FileStorage(folder) });
  await until(
    'they are sent',
    () => server.payloads(`${topic}0`).length + server.payloads(`${topic}1`).length === 20,
  );
  assert.deepEqual(
    server.payloads(`${topic}0`).map(({ n }) => n),
    range(1, 10).map((n) => 2 * n),
  );
  await until('the outbox is empty', async () => (await stored(folder)) === 0);
});

testWithFake('what_waits_is_shown_until_it_is_published_also_by_the_next_process', async (world) => {
  const { server, topic } = world;
  const folder = await mkdtemp(path.join(tmpdir(), 'updraft-client-'));
  world.after(() => rm(folder, { recursive: true, force: true }));
  await server.stop();
  const codec = { encode: (value) => [value], decode: ([value]) => value };
  const options = { storage: new FileStorage(folder), ...codec };
  const first = world.client(options);
  assert.deepEqual(await first.unsent(topic), []);
  const codes = [
    codeOf(first.publish(topic, 'a', new Date(5))),
    codeOf(first.publish(topic, { n: 1 }, { id: 'mine' })),
    codeOf(first.publish(`${topic}-2`, { n: 2 })),
  ];
  const seen = await first.unsent(topic);
  assert.deepEqual(
    seen.map(({ message }) => message),
    [{ a: new Date(5) }, { n: 1 }],
  );
  assert.equal(seen[1].id, 'mine');
  await first.close();
  assert.deepEqual(new Set(await Promise.all(codes)), new Set(['closed']));

  const second = world.client(options);
  const published = [];
  second.on('published', async (channel, offset) =>
    published.push([channel, offset, (await second.unsent(channel)).length]),
  );
  assert.deepEqual(await second.unsent(topic), seen);
  await server.start();
  await until('all is published', () => published.length === 3);
  const ofTopic = published.filter(([channel]) => channel === topic);
  assert.deepEqual(
    ofTopic.map(([, , left]) => left),
    [1, 0],
  );
  assert.equal(ofTopic[1][1], server.last(topic));
  const offset = await second.publish(topic, { n: 3 });
  await until('it is told', () => published.length === 4);
  assert.deepEqual(published[3], [topic, offset, 0]);
});

testWithFake('a_passing_refusal_is_tried_again_in_order_and_a_final_one_rejects', async (world) => {
  const { server, topic } = world;
  const { client, told } = world.watched();
  server.refusedPublications.push({ error: 'busy' }, { error: 'not-authorized', message: 'no' });
  const first = codeOf(client.publish(topic, { n: 1 }));
  const second = client.publish(topic, { n: 2 });
  assert.equal(await first, 'not-authorized');
  await second;
  assert.deepEqual(server.payloads(topic), [{ n: 2 }]);
  assert.deepEqual(told.of('error'), []);
});

testWithFake('what_no_connection_can_carry_is_refused_and_holds_up_nothing', async (world) => {
  const { server, topic } = world;
  const { client, told } = world.watched();
  const small = client.publish(`${topic}-2`, { n: 1 });
  const large = codeOf(client.publish(topic, { text: 'x'.repeat(5 * 2 ** 20) }));
  await client.publish(topic, { n: 2 });
  assert.equal(await large, 'too-large');
  await small;
  assert.deepEqual(server.payloads(topic), [{ n: 2 }]);
  assert.deepEqual(server.payloads(`${topic}-2`), [{ n: 1 }]);
  assert.deepEqual(told.of('error'), []);
});

testWithFake('a_refusal_of_what_an_earlier_process_has_published_is_an_error', async (world) => {
  const { server, topic } = world;
  const folder = await mkdtemp(path.join(tmpdir(), 'updraft-client-'));
  world.after(() => rm(folder, { recursive: true, force: true }));
  await server.stop();
  const first = world.client({ storage: new FileStorage(folder) });
  const code = codeOf(first.publish(topic, { n: 1 }));
  await until('it is stored', async () => (await stored(folder)) === 1);
  await first.close();
  assert.equal(await code, 'closed');
  server.refusedPublications.push({ error: 403, message: 'no' });
  await server.start();
  const { told } = world.watched({ storage: new FileStorage(folder) });
  const [[error]] = await told.until('error');
  assert.deepEqual([error.code, error.channel], ['403', topic]);
  await until('the outbox is empty', async () => (await stored(folder)) === 0);
});

/** How many entries the journal of a folder has in its outbox. */
async function stored(folder) {
  const { readdir, readFile } = await import('node:fs/promises');
  const file = (await readdir(folder)).find((name) => name.endsWith('.jsonl'));
  if (!file) return 0;
  const lines = (await readFile(path.join(folder, file), 'utf8')).split('\n');
  return (
    lines.filter((line) => line.includes('"do":"put"')).length -
    lines.filter((line) => line.includes('"do":"delete"')).length
  );
}
