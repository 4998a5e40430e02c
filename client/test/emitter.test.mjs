// Events on a topic: what crosses clients, where an emitter goes on, what it tells of itself.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { emitter, UpdraftError } from '../dist/index.js';
import { FileStorage } from '../dist/node.js';
import { codeOf, pause, range, test, testWithFake, until } from './support/world.mjs';

/** An emitter, what fires there, and its errors. */
async function open(world, options, client = world.client()) {
  const events = emitter(client, world.topic, options);
  const fired = [];
  const states = [];
  events.on({}, (...args) => fired.push(...args));
  for (const name of ['connect', 'disconnect', 'reconnect'])
    events.states.on(name, () => states.push(name));
  events.states.on('error', (error) => states.push(error.code));
  await events.ready;
  return { client, events, fired, states };
}

async function untilFired({ fired }, numbers) {
  await until(`${numbers} have fired`, () => fired.length >= numbers.length);
  assert.deepEqual(fired, numbers);
}

test('topic_099_seed_040_045_046_047_events_of_one_client_fire_in_the_others_and_in_itself', async (world) => {
  const one = await open(world);
  const two = await open(world, { ownEvents: false });
  const offset = await one.events.trigger('n', 1, 2);
  await untilFired(two, [1, 2]);
  await untilFired(one, [1, 2]);
  assert.equal(typeof offset, 'string');
  await two.events.trigger('n', 3);
  await untilFired(one, [1, 2, 3]);
  await two.events.trigger('n');
  await one.events.trigger('n', [4], new Date(5));
  await untilFired(two, [1, 2, [4], new Date(5)]);
});

test('topic_099_seed_054_handlers_choose_by_name_pattern_and_metadata', async (world) => {
  const { events } = await open(world);
  const told = [];
  const remove = events.on('order.7', () => told.push('exact'));
  events.on({ name: 'order.*' }, () => told.push('pattern'));
  events.on({ name: '*.7', meta: { state: 'paid' } }, () => told.push('paid'));
  events.onEvent({ meta: { state: 'paid' } }, (event) => told.push(event));
  await events.trigger('order.7');
  const offset = await events.triggerWith('order.7', ['x'], { state: 'paid', by: 'ada' });
  await events.trigger('orders');
  await until('the handlers', () => told.length >= 6);
  const event = told.pop();
  assert.deepEqual(told, ['exact', 'pattern', 'exact', 'pattern', 'paid']);
  assert.ok(event.time instanceof Date);
  const { name, args, meta } = event;
  assert.deepEqual([name, args, meta, event.offset], [
    'order.7',
    ['x'],
    { state: 'paid', by: 'ada' },
    offset,
  ]);
  remove();
  await events.trigger('order.7');
  await until('the pattern', () => told.length === 6);
  assert.equal(told.at(-1), 'pattern');
});

testWithFake('topic_099_seed_048_049_050_056_events_that_are_named_like_states_are_events', async (world) => {
  const one = await open(world);
  const names = [];
  one.events.onEvent({}, ({ name }) => names.push(name));
  const expected = ['connect', 'disconnect', 'reconnect', 'error', 'fail', '', '__proto__'];
  for (const name of expected) await one.events.trigger(name, name);
  await until('all', () => names.length === expected.length);
  assert.deepEqual(names, expected);
  assert.deepEqual(one.states, ['connect']);
  world.server.cut();
  await until('it is back', () => one.states.length === 3);
  assert.deepEqual(one.states, ['connect', 'disconnect', 'reconnect']);
});

test('topic_099_seed_051_a_handler_that_throws_is_counted_and_stops_nothing', async (world) => {
  const { events, fired, states } = await open(world);
  events.on('n', () => {
    throw new Error('no');
  });
  events.on('n', async () => Promise.reject(new Error('no')));
  const behind = [];
  events.on('n', (n) => behind.push(n));
  for (const n of range(1, 3)) await events.trigger('n', n);
  await until('all', () => behind.length === 3 && states.length === 7);
  assert.deepEqual(fired, [1, 2, 3]);
  assert.deepEqual(events.stats, { fired: 12, failed: 6 });
  assert.deepEqual(states.slice(1), Array(6).fill('handler-failed'));
});

test('topic_099_what_is_no_event_is_passed_over', async (world) => {
  const { client, events, fired } = await open(world);
  for (const value of [7, { event: 7, args: [] }, { event: 'n' }, 'text'])
    await client.publish(world.topic, { value });
  await client.publish(world.topic, { event: 'n', args: [1] });
  await events.trigger('n', 2);
  await until('two', () => fired.length === 2);
  assert.deepEqual(fired, [1, 2]);
});

testWithFake('topic_099_seed_052_killing_empties_the_queue', async (world) => {
  const { events, fired, states } = await open(world);
  await world.server.stop();
  await until('it is gone', () => states.includes('disconnect'));
  const triggered = range(1, 3).map((n) => codeOf(events.trigger('n', n)));
  await events.kill();
  assert.deepEqual(await Promise.all(triggered), Array(3).fill('discarded'));
  assert.ok(!states.includes('discarded'));
  const later = events.trigger('n', 4);
  await world.server.start();
  await later;
  await until('the later one', () => fired.length === 1);
  assert.deepEqual(fired, [4]);
  assert.deepEqual(world.server.payloads(world.topic).length, 1);
});

testWithFake('topic_099_an_event_that_is_refused_is_told', async (world) => {
  const { events, states } = await open(world);
  world.server.refusedPublications.push({ error: 'not-authorized', reason: 'no' });
  assert.equal(await codeOf(events.trigger('n', 1)), 'not-authorized');
  await until('it is told', () => states.includes('not-authorized'));
  // Nobody could hear one without a name.
  assert.equal(await codeOf(events.trigger(undefined, 1)), 'invalid-arguments');
  await until('it is told', () => states.includes('invalid-arguments'));
});

testWithFake('topic_099_no_more_than_ten_thousand_events_wait', async (world) => {
  const { events } = await open(world);
  await world.server.stop();
  const waiting = range(1, 10_000).map((n) => events.trigger('n', n));
  assert.equal(await codeOf(events.trigger('n', 0)), 'busy');
  await events.kill();
  for (const outcome of await Promise.allSettled(waiting))
    assert.equal(outcome.status, 'rejected');
});

test('topic_100_seed_053_an_emitter_goes_on_by_its_cursor', async (world) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'updraft-emitter-'));
  world.after(() => rm(folder, { recursive: true, force: true }));
  const producer = await open(world);
  for (const n of range(1, 2)) await producer.events.trigger('n', n);
  const start = async () => {
    const client = world.client({ storage: new FileStorage(folder) });
    return open(world, { cursor: 'bell' }, client);
  };
  // There is no cursor: it begins with the next event.
  let bell = await start();
  await producer.events.trigger('n', 3);
  await untilFired(bell, [3]);
  await bell.events.close();
  await bell.client.close();
  for (const n of range(4, 30)) await producer.events.trigger('n', n);
  bell = await start();
  await untilFired(bell, range(4, 30));
  // Closed and opened again, in the same process.
  await bell.events.close();
  for (const n of range(31, 40)) await producer.events.trigger('n', n);
  bell = await open(world, { cursor: 'bell' }, bell.client);
  await untilFired(bell, range(31, 40));
  // Another cursor is another place.
  await bell.events.close();
  const other = await open(world, { cursor: 'other', start: { last: 2 } }, bell.client);
  await untilFired(other, [39, 40]);
});

testWithFake('topic_100_a_cursor_of_another_life_of_the_topic_is_told', async (world) => {
  const { events, fired, states, client } = await open(world, { cursor: 'bell' });
  await events.trigger('n', 1);
  await until('it has fired', () => fired.length === 1);
  await events.close();
  world.server.delete(world.topic);
  world.server.publish(world.topic, { event: 'n', args: [2] });
  const again = await open(world, { cursor: 'bell' }, client);
  await untilFired(again, [2]);
  assert.deepEqual(again.states, ['reset']);
  await again.events.close();
  const third = await open(world, { cursor: 'bell' }, client);
  await third.events.trigger('n', 3);
  await untilFired(third, [3]);
  assert.deepEqual(states, ['connect']);
});

test('topic_099_seed_044_what_does_not_persist_begins_with_the_next_event', async (world) => {
  const { events, fired, client } = await open(world, { persist: false });
  await events.trigger('n', 1);
  await until('one', () => fired.length === 1);
  await events.close();
  assert.deepEqual((await client.load(world.topic)).messages, []);
  const again = await open(world, { persist: false }, client);
  await again.events.trigger('n', 2);
  await untilFired(again, [2]);
  await again.events.close();
  for (const options of [{ cursor: 'x' }, { start: '0' }]) {
    const wrong = () => emitter(client, world.topic, { persist: false, ...options });
    assert.throws(wrong, { code: 'invalid-arguments' });
  }
  const third = await open(world, {}, client);
  assert.throws(() => emitter(client, world.topic), UpdraftError);
  await third.events.close();
  assert.equal(await codeOf(third.events.trigger('n', 3)), 'closed');
});

testWithFake('topic_101_after_twenty_reconnects_there_is_one_reader', async (world) => {
  const { events, fired, states } = await open(world, { cursor: 'bell' });
  for (const n of range(1, 20)) {
    if (n % 2 === 0) world.server.cut();
    else world.server.forgetSessions();
    const back = () => states.filter((state) => state === 'reconnect').length === n;
    await until('it is back', back);
    await events.trigger('n', n);
    await until('it follows', () => world.server.followers(world.topic) === 1);
  }
  await untilFired({ fired }, range(1, 20));
  await events.trigger('n', 21);
  await pause(50);
  await untilFired({ fired }, range(1, 21));
  assert.equal(world.server.followers(world.topic), 1);
});
