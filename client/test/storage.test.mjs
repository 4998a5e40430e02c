// Storage on Node: in memory and in a folder.

import assert from 'node:assert/strict';
import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { MemoryStorage } from '../dist/index.js';
import { FileStorage } from '../dist/node.js';
import { contract } from './support/store-contract.mjs';
import { codeOf, range, test, testAlone, testWithFake } from './support/world.mjs';

/** Where programs import the storage from. */
const MODULE = new URL('../dist/node.js', import.meta.url);

const record = (n) => ({
  position: `p${String(n).padStart(6, '0')}`,
  event: { payload: { n }, time: n },
});

for (const [name, check] of Object.entries(contract)) {
  testAlone(`memory_${name}`, () => check(() => new MemoryStorage().open()));
  testAlone(`file_${name}`, async (context) => {
    const folder = await newFolder(context);
    let store;
    context.after(() => store.close());
    await check(async () => (store = await new FileStorage(folder).open('server user')));
  });
}

testAlone('file_users_and_servers_have_stores_of_their_own', async (context) => {
  const storage = new FileStorage(await newFolder(context));
  const stores = await Promise.all(
    ['ws://a/b ada', 'ws://a/b ben', '../../up'].map((name) => storage.open(name)),
  );
  await stores[0].append('c', [record(1)], 'p000001');
  assert.equal((await stores[1].load('c')).position, undefined);
  assert.equal((await stores[2].load('c')).position, undefined);
  for (const store of stores) await store.close();
});

testAlone('file_is_refused_while_another_process_has_it', async (context) => {
  const folder = await newFolder(context);
  const script = `
    const { FileStorage } = await import(${JSON.stringify(MODULE)});
    await new FileStorage(${JSON.stringify(folder)}).open('n');
    console.log('open');
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  context.after(() => child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  assert.equal(await codeOf(new FileStorage(folder).open('n')), 'store-in-use');
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
  const store = await new FileStorage(folder).open('n');
  assert.equal(await codeOf(new FileStorage(folder).open('n')), 'store-in-use');
  await store.close();
  await (await new FileStorage(folder).open('n')).close();
});

testAlone('file_a_change_that_was_cut_off_is_not_there_and_the_others_are', async (context) => {
  const folder = await newFolder(context);
  const first = await new FileStorage(folder).open('n');
  await first.append('c', [record(1)], 'p000001');
  await first.close();
  const file = path.join(folder, 'n.jsonl');
  const { size } = await stat(file);
  const change = { do: 'append', channel: 'c', records: [record(2)], position: 'p000002' };
  const whole = `${JSON.stringify(change)}\n`;
  for (const cut of [1, (whole.length / 2) | 0, whole.length - 1]) {
    await appendFile(file, whole.slice(0, cut));
    const store = await new FileStorage(folder).open('n');
    assert.equal((await store.load('c')).position, 'p000001');
    assert.equal(store.wasCleared, false);
    await store.close();
    assert.equal((await stat(file)).size, size);
  }
  const store = await new FileStorage(folder).open('n');
  await store.append('c', [record(2)], 'p000002');
  assert.equal((await store.load('c')).records.length, 2);
  await store.close();
});

testAlone('file_does_not_grow_with_what_is_gone', async (context) => {
  const folder = await newFolder(context);
  let store = await new FileStorage(folder).open('n');
  for (const n of range(1, 2500)) {
    if ((await store.append('c', [record(n)], record(n).position)) > 20) await store.evict(10, 'c');
  }
  const before = await store.load('c');
  await store.close();
  const lines = (await readFile(path.join(folder, 'n.jsonl'), 'utf8')).split('\n').length;
  assert.ok(lines < 1500, String(lines));
  assert.deepEqual(await readdir(folder), ['n.jsonl']);
  store = await new FileStorage(folder).open('n');
  assert.deepEqual(await store.load('c'), before);
  await store.close();
});

testWithFake('file_of_another_layout_is_cleared_and_that_is_a_reset', async (world) => {
  const folder = await newFolder(world);
  const file = path.join(folder, `${encodeURIComponent(`${world.url} `)}.jsonl`);
  await writeFile(file, '{"format":"updraft-client","version":0}\n{"do":"append"}\n');
  const { client, told } = world.watched({ storage: new FileStorage(folder) });
  await client.load(world.topic);
  await client.subscribe(world.topic, '0');
  assert.deepEqual(told.of('reset'), [[world.topic, { reason: 'schema' }]]);
  await client.publish(world.topic, { n: 1 });
  await told.untilMessages(1);
  await client.close();
  const next = world.watched({ storage: new FileStorage(folder) });
  assert.deepEqual((await next.client.load(world.topic)).messages, told.messages);
  assert.deepEqual(next.told.of('reset'), []);
});

test('topic_102_a_process_that_starts_again_goes_on_where_it_was', async (world) => {
  const folder = await newFolder(world);
  const producer = world.client();
  let seen = 0;
  for (const round of range(1, 4)) {
    const { client, told } = world.watched({ storage: new FileStorage(folder) });
    const { messages, lastOffset } = await client.load(world.topic);
    assert.deepEqual(
      messages.map(({ n }) => n),
      range(1, seen),
    );
    await client.subscribe(world.topic, lastOffset ?? '0');
    assert.deepEqual(told.numbers, range(seen + 1, (round - 1) * 10));
    for (const n of range((round - 1) * 10 + 1, (round - 1) * 10 + 5))
      await producer.publish(world.topic, { n });
    seen = (round - 1) * 10 + 5;
    await told.untilMessages(round === 1 ? 5 : 10);
    await client.close();
    for (const n of range(seen + 1, round * 10)) await producer.publish(world.topic, { n });
  }
});

/** An empty folder, until the test ends. */
async function newFolder(context) {
  const folder = await mkdtemp(path.join(tmpdir(), 'updraft-client-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
