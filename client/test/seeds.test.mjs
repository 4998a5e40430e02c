// What users of Redistribute and of emitter-rethinkdb did, call by call, and the programs on their
// pages of the guide.

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { Client, emitter, MemoryStorage } from '../dist/index.js';
import { FileStorage } from '../dist/node.js';
import { test, testWithFake, until } from './support/world.mjs';

const DIST = new URL('../dist/index.js', import.meta.url);

testWithFake('seed_077_080_081_a_client_has_targets_and_tells_of_its_connection', async (world) => {
  const { told } = world.watched({ targets: ['ws://127.0.0.1:1/websocket', world.url] });
  assert.deepEqual(await told.until('connect'), [[world.url]]);
  world.server.cut();
  await told.until('disconnect');
  assert.deepEqual(await told.until('reconnect'), [[world.url]]);
  assert.equal(told.of('connect').length, 1);
});

test('seed_078_encode_and_decode_are_applied_to_each_value', async (world) => {
  const codec = { encode: JSON.stringify, decode: JSON.parse };
  const { client, told } = world.watched(codec);
  await client.subscribe(world.topic);
  const offset = await client.publish(world.topic, 'foo', { bar: 'baz' }, 'n', 1);
  assert.deepEqual(await told.untilMessages(1), [{ offset, foo: { bar: 'baz' }, n: 1 }]);
  const plain = world.watched();
  await plain.client.subscribe(world.topic, '0');
  assert.deepEqual(await plain.told.untilMessages(1), [{ offset, foo: '{"bar":"baz"}', n: '1' }]);
});

test('seed_079_084_what_was_retrieved_is_stored_and_loaded', async (world) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'updraft-seeds-'));
  world.after(() => rm(folder, { recursive: true, force: true }));
  const first = world.watched({ storage: new FileStorage(folder) });
  await first.client.subscribe(world.topic, '0');
  const offset = await first.client.publish(world.topic, 'foo', 'bar');
  await first.told.untilMessages(1);
  await first.client.close();
  const again = world.client({ storage: new FileStorage(folder) });
  const loaded = { messages: [{ offset, foo: 'bar' }], lastOffset: offset };
  assert.deepEqual(await again.load(world.topic), loaded);
  const none = world.client({ localStorage: false });
  assert.deepEqual(await none.load(world.topic), { messages: [], lastOffset: undefined });
});

test('seed_076_082_087_messages_come_in_arrays_with_offset_and_pairs', async (world) => {
  const { client, told } = world.watched();
  await client.subscribe(world.topic);
  const offset = await client.publish(world.topic, 'foo', 'bar', 'baz', 'bam', 'words', 'things');
  await told.untilMessages(1);
  const expected = [{ offset, foo: 'bar', baz: 'bam', words: 'things' }];
  assert.deepEqual(told.of('messages'), [[world.topic, expected]]);
  assert.equal(typeof offset, 'string');
});

testWithFake('seed_083_errors_are_told', async (world) => {
  const { client, told } = world.watched();
  await client.subscribe(world.topic);
  world.server.end(world.topic, { error: 'not-authorized', reason: 'not any more' });
  const [[error]] = await told.until('error');
  assert.deepEqual([error.code, error.channel], ['not-authorized', world.topic]);
});

test('seed_085_086_subscribe_and_unsubscribe_resolve_with_true', async (world) => {
  const { client, told } = world.watched();
  await client.publish(world.topic, 'n', 0);
  assert.equal(await client.subscribe(world.topic), true);
  // `$`: with the next one.
  await client.publish(world.topic, 'n', 1);
  await told.untilMessages(1);
  assert.equal(await client.unsubscribe(world.topic), true);
  const offset = await client.publish(world.topic, 'n', 2);
  assert.deepEqual(told.numbers, [1]);
  const [{ offset: first }] = told.messages;
  assert.equal(await client.subscribe(world.topic, first), true);
  await told.untilMessages(2);
  assert.deepEqual(told.messages[1], { offset, n: 2 });
});

test('seed_063_088_an_odd_count_of_keys_and_values_is_an_error', async (world) => {
  const { client, told } = world.watched();
  await client.subscribe(world.topic);
  const invalid = { message: 'Invalid argument count!' };
  await assert.rejects(client.publish(world.topic, 'foo'), invalid);
  await assert.rejects(client.publish(world.topic, 'foo', 'bar', 'baz'), invalid);
  await client.publish(world.topic, 'n', 1);
  await told.untilMessages(1);
  assert.deepEqual(told.numbers, [1]);
});

testWithFake('seed_040_to_053_the_program_on_the_page_of_emitter_rethinkdb_runs', async (world) => {
  const printed = [];
  await run(world, 'emitter-rethinkdb.md', 'Here, in JavaScript', {
    console: { log: (...parameters) => printed.push(parameters.join(' ')) },
  });
  await until('the bell', () => printed.includes('front 2'));
  // Another program hears it and is heard.
  const other = emitter(world.client(), 'events', { start: '0' });
  const rung = [];
  other.on('rung', (door) => rung.push(door));
  await other.trigger('rung', 'back', 1);
  await until('both', () => rung.length === 2 && printed.includes('back 1'));
  assert.deepEqual(rung, ['front', 'back']);
  await world.server.stop();
  await until('it is told', () => printed.includes('offline'));
});

testWithFake('seed_077_to_087_the_client_on_the_page_of_redistribute_runs', async (world) => {
  const shown = [];
  const show = (messages) => shown.push(...messages);
  world.server.publish('orders', { item: 'tea' });
  await run(world, 'redistribute.md', 'The client, here', { show });
  await until('both', () => shown.length === 2);
  assert.deepEqual(
    shown.map(({ item, cups }) => [item, cups]),
    [
      ['tea', undefined],
      ['coffee', 2],
    ],
  );
});

/** Runs the program of a section of a page in the guide, with a client of this test's server. */
async function run(world, page, section, globals) {
  const guide = await readFile(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
  const [, behind] = guide.split(`\n## ${section}\n`);
  const [, program] = /```js\n(.*?)```/s.exec(behind);
  const folder = await mkdtemp(path.join(tmpdir(), 'updraft-page-'));
  world.after(() => rm(folder, { recursive: true, force: true }));
  globalThis.page = { world, Client, MemoryStorage, ...globals };
  const shim = `export * from '${DIST}';
    const { world } = globalThis.page;
    export function Client() { return world.client({ targets: world.url }); }`;
  await writeFile(path.join(folder, 'package.mjs'), shim);
  const names = Object.keys(globals).join(', ');
  const text = `const { ${names} } = globalThis.page;\n${program.replace("'updraft-client'", "'./package.mjs'")}`;
  const file = path.join(folder, 'program.mjs');
  await writeFile(file, text);
  await import(pathToFileURL(file));
}
