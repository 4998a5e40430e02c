// What happens to the stream when connections, servers and records are lost.

import assert from 'node:assert/strict';

import { MemoryStorage } from '../dist/index.js';
import { codeOf, pause, range, seeded, test, testWithFake, until } from './support/world.mjs';

testWithFake('a_lost_connection_is_replaced_and_the_session_goes_on', async (world) => {
  const { server, topic } = world;
  const { client, told } = world.watched();
  await client.subscribe(topic);
  server.cut();
  server.publish(topic, { n: 1 });
  await told.until('reconnect');
  server.publish(topic, { n: 2 });
  await told.untilMessages(2);
  assert.deepEqual(told.numbers, [1, 2]);
  assert.deepEqual([server.counts.sessions, server.counts.subscriptions], [1, 1]);
  assert.deepEqual(
    [told.of('connect').length, told.of('disconnect').length, told.of('reconnect').length],
    [1, 1, 1],
  );
  assert.equal(client.isConnected, true);
  await told.until('caughtup', 2);
  const names = told.events.map(([name]) => name).filter((name) => name !== 'messages');
  assert.deepEqual(names, ['connect', 'caughtup', 'disconnect', 'reconnect', 'caughtup']);
});

testWithFake('a_lost_session_is_replaced_from_the_last_position', async (world) => {
  const { server, topic } = world;
  const { client, told } = world.watched();
  await client.subscribe(topic);
  server.publish(topic, { n: 1 });
  await told.untilMessages(1);
  await server.stop();
  server.publish(topic, { n: 2 });
  await until('the loss', () => !client.isConnected);
  await server.start();
  await told.untilMessages(2);
  server.publish(topic, { n: 3 });
  await told.untilMessages(3);
  assert.deepEqual(told.numbers, [1, 2, 3]);
  assert.deepEqual([told.of('gap'), told.of('reset'), told.of('error')], [[], [], []]);
  assert.equal(told.of('caughtup').length, 2);
});

test('topic_023_cut_at_any_byte_all_comes_once_and_in_order', async (world) => {
  const { topic } = world;
  const random = seeded();
  const proxy = await world.proxy(random);
  proxy.cutting = 0.1;
  const { client, told } = world.watched({ targets: proxy.url });
  const producer = world.client();
  const subscribed = client.subscribe(topic, '0');
  for (const n of range(1, 1000)) {
    await producer.publish(topic, { n, text: 'x'.repeat(random() * 2000) });
    if (random() < 0.02) await proxy.stop().then(() => proxy.start());
    if (random() < 0.01) world.server?.forgetSessions();
    if (random() < 0.02) await pause(random() * 20);
  }
  proxy.cutting = 0;
  await subscribed;
  await told.untilMessages(1000);
  assert.deepEqual(told.numbers, range(1, 1000));
  assert.deepEqual(told.of('error'), []);
  const { messages } = await client.load(topic);
  assert.deepEqual(
    messages.map(({ n }) => n),
    range(1, 1000),
  );
  console.log(`${told.of('reconnect').length + 1} connections`);
});

testWithFake('topic_023_cut_at_any_message_all_comes_once_and_in_order', async (world) => {
  const { server, topic } = world;
  const random = seeded();
  const { client, told } = world.watched();
  server.cuts = () => random() < 0.03;
  server.drops = () => random() < 0.02 && (server.cut(), true);
  const subscribed = client.subscribe(topic, '0');
  for (const n of range(1, 1000)) {
    server.publish(topic, { n });
    if (random() < 0.02) server.forgetSessions();
    if (random() < 0.05) await pause(random() * 20);
  }
  server.cuts = server.drops = () => false;
  await subscribed;
  await told.untilMessages(1000);
  assert.deepEqual(told.numbers, range(1, 1000));
  assert.deepEqual(told.of('error'), []);
  const { messages } = await client.load(topic);
  assert.deepEqual(
    messages.map(({ n }) => n),
    range(1, 1000),
  );
  console.log(`${server.counts.connections} connections, ${server.counts.sessions} sessions`);
});

testWithFake('topic_025_a_gap_is_told_before_what_follows', async (world) => {
  const { server, topic } = world;
  const storage = kept();
  const first = world.watched({ storage });
  await first.client.subscribe(topic);
  server.publish(topic, { n: 1 });
  await first.told.untilMessages(1);
  await first.client.close();
  for (const n of range(2, 9)) server.publish(topic, { n });
  server.trim(topic, 3);

  const second = world.watched({ storage });
  await second.client.subscribe(topic, (await second.client.load(topic)).lastOffset);
  const names = second.told.events.map(([name]) => name);
  assert.ok(names.indexOf('gap') < names.indexOf('messages'), names.join());
  assert.deepEqual(second.told.of('gap'), [[topic, { lost: 5 }]]);
  assert.deepEqual(second.told.numbers, [7, 8, 9]);
  const stored = await second.client.load(topic);
  assert.deepEqual(
    stored.messages.map(({ n }) => n),
    [1, 7, 8, 9],
  );
});

testWithFake(
  'topic_026_a_reset_clears_what_is_stored_and_is_told_before_what_follows',
  async (world) => {
    const { server, topic } = world;
    const { client, told } = world.watched();
    await client.subscribe(topic);
    for (const n of range(1, 3)) server.publish(topic, { n });
    await told.untilMessages(3);
    await server.stop();
    server.delete(topic);
    server.publish(topic, { n: 11 });
    await server.start();
    await told.untilMessages(4);
    assert.deepEqual(told.of('reset'), [[topic, { reason: 'unknown-epoch' }]]);
    assert.deepEqual(told.numbers, [1, 2, 3, 11]);
    const names = told.events.map(([name]) => name);
    assert.ok(names.indexOf('reset') < names.lastIndexOf('messages'), names.join());
    server.publish(topic, { n: 12 });
    await told.untilMessages(5);
    const stored = await client.load(topic);
    assert.deepEqual(
      stored.messages.map(({ n }) => n),
      [11, 12],
    );
  },
);

testWithFake('topic_030_policies_decide_how_it_goes_on', async (world) => {
  const { server, topic } = world;
  for (const n of range(1, 6)) server.publish(topic, { n }, { compact: `c${n % 2}` });
  const old = server.last(topic).replace(/^\d+/, '000000000001');
  server.trim(topic, 4);
  const gone = server.last(topic).replace(/\..*/, '.ffff');
  const expected = { earliest: [3, 4, 5, 6], latest: [], snapshot: [5, 6] };
  for (const [policy, numbers] of Object.entries(expected)) {
    const gap = world.watched();
    await gap.client.subscribe(topic, old, { onGap: policy });
    assert.deepEqual([gap.told.of('gap').length, gap.told.numbers], [1, numbers], policy);
    const reset = world.watched();
    await reset.client.subscribe(topic, gone, { onReset: policy });
    assert.deepEqual([reset.told.of('reset').length, reset.told.numbers], [1, numbers], policy);
  }
  const { client, told } = world.watched();
  assert.equal(await codeOf(client.subscribe(topic, old, { onGap: 'fail' })), 'gap');
  assert.deepEqual(told.of('gap'), [[topic, { lost: 1 }]]);
  assert.equal(await codeOf(client.subscribe(topic, gone, { onReset: 'fail' })), 'reset');
  assert.deepEqual(told.of('reset'), [[topic, { reason: 'unknown-epoch' }]]);
  assert.deepEqual(told.of('messages'), []);
});

testWithFake('a_stored_position_that_the_server_does_not_take_is_a_reset', async (world) => {
  const { server, topic } = world;
  const store = await new MemoryStorage().open();
  await store.append(
    topic,
    [{ position: 'foreign', event: { payload: { n: 0 }, time: 0 } }],
    'foreign',
  );
  server.publish(topic, { n: 1 });
  const { client, told } = world.watched({ storage: { open: async () => store } });
  const { lastOffset } = await client.load(topic);
  await client.subscribe(topic, lastOffset);
  assert.deepEqual(told.of('reset'), [[topic, { reason: 'bad-position' }]]);
  assert.deepEqual(told.numbers, [1]);
  assert.deepEqual((await client.load(topic)).messages, told.messages);
});

testWithFake('a_refusal_ends_the_subscription_and_a_passing_one_does_not', async (world) => {
  const { server, topic } = world;
  const { client, told } = world.watched();
  server.refusedSubscriptions.push({ error: 'not-authorized', message: 'no' });
  assert.equal(await codeOf(client.subscribe(topic)), 'not-authorized');
  server.refusedSubscriptions.push({ error: 503, message: 'later' });
  await client.subscribe(topic);
  server.publish(topic, { n: 1 });
  await told.untilMessages(1);
  assert.deepEqual(told.of('error'), []);
  server.end(topic, { error: 403, reason: 'revoked' });
  const [[error]] = await told.until('error');
  assert.deepEqual([error.code, error.message, error.channel], ['403', 'revoked', topic]);
  await client.subscribe(topic, { last: 1 });
  assert.deepEqual(told.numbers, [1, 1]);
});

testWithFake('topic_040_a_position_without_a_message_is_kept_too', async (world) => {
  const { server, topic } = world;
  const { client, told } = world.watched();
  await client.subscribe(topic);
  server.publishUnseen(topic);
  server.progress(topic);
  await until(
    'it is stored',
    async () => (await client.load(topic)).lastOffset === server.last(topic),
  );
  await server.stop();
  server.publish(topic, { n: 1 });
  await server.start();
  await told.untilMessages(1);
  assert.deepEqual(told.numbers, [1]);
  assert.equal(told.of('caughtup').length, 2);
});

testWithFake('what_makes_no_sense_is_ignored_and_counted', async (world) => {
  const { server, topic } = world;
  const { client, told } = world.watched();
  await client.subscribe(topic);
  server.disturb(topic);
  server.publish(topic, { n: 1 });
  await told.untilMessages(1);
  server.cut();
  await told.until('reconnect');
  server.publish(topic, { n: 2 });
  await told.untilMessages(2);
  assert.equal(server.counts.sessions, 1);
  assert.deepEqual(told.numbers, [1, 2]);
});

testWithFake('a_server_that_says_nothing_any_more_is_left', async (world) => {
  const { server, topic } = world;
  const { client, told } = world.watched({ heartbeat: { interval: 100, timeout: 100 } });
  await client.subscribe(topic);
  await pause(500);
  assert.deepEqual(told.of('disconnect'), [], 'pings are answered');
  server.drops = ({ msg }) => msg === 'ping';
  await told.until('disconnect');
  server.drops = () => false;
  await told.until('reconnect');
});

testWithFake('a_client_that_is_slow_has_a_bounded_queue_and_loses_nothing', async (world) => {
  const { server, topic } = world;
  const store = await new MemoryStorage().open();
  const append = store.append.bind(store);
  let release;
  const blocked = new Promise((resolve) => (release = resolve));
  store.append = async (...parameters) => (await blocked, append(...parameters));
  const { client, told } = world.watched({ storage: { open: async () => store }, keep: 100_000 });
  const subscribed = client.subscribe(topic, '0');
  await until('it follows', () => server.followers(topic) === 1);
  for (const n of range(1, 25_000)) server.publish(topic, { n });
  await until('it has enough', () => server.followers(topic) === 0);
  release();
  await subscribed;
  await told.untilMessages(25_000);
  assert.deepEqual(told.numbers, range(1, 25_000));
});

test('a_storage_that_fails_is_told_and_the_stream_goes_on', async (world) => {
  const store = await new MemoryStorage().open();
  store.append = async () => {
    throw new Error('broken');
  };
  const { client, told } = world.watched({ storage: { open: async () => store } });
  await client.subscribe(world.topic);
  await client.publish(world.topic, { n: 1 });
  await told.untilMessages(1);
  assert.deepEqual(
    new Set(told.of('error').map(([{ code, message }]) => `${code} ${message}`)),
    new Set(['storage-failed broken']),
  );
});

test('a_storage_that_does_not_open_is_replaced_by_memory_and_that_is_told', async (world) => {
  const storage = { open: () => Promise.reject(new Error('closed')) };
  const { client, told } = world.watched({ storage });
  await client.subscribe(world.topic);
  await client.publish(world.topic, { n: 1 });
  await told.untilMessages(1);
  assert.equal((await client.load(world.topic)).messages.length, 1);
  assert.deepEqual(
    told.of('error').map(([{ code, message }]) => [code, message]),
    [['storage-unavailable', 'closed']],
  );
});

test('a_full_storage_drops_the_oldest_messages_and_keeps_the_position', async (world) => {
  const store = await new MemoryStorage().open();
  const append = store.append.bind(store);
  store.append = async (channel, records, position) => {
    const { length } = (await store.load(channel)).records;
    if (length + records.length <= 250) return append(channel, records, position);
    throw Object.assign(new Error('full'), { name: 'QuotaExceededError' });
  };
  const { client, told } = world.watched({ storage: { open: async () => store } });
  await client.subscribe(world.topic);
  await Promise.all(range(1, 300).map((n) => client.publish(world.topic, { n })));
  await told.untilMessages(300);
  assert.deepEqual(told.of('evicted'), [[world.topic, 100]]);
  const { messages, lastOffset } = await client.load(world.topic);
  assert.deepEqual(
    messages.map(({ n }) => n),
    range(101, 300),
  );
  assert.equal(lastOffset, messages.at(-1).offset);
  assert.deepEqual(told.of('error'), []);
});

/** Storage whose stores outlive the client. */
function kept() {
  const stores = new Map();
  return {
    async open(namespace) {
      if (!stores.has(namespace)) {
        const store = await new MemoryStorage().open();
        store.close = async () => {};
        stores.set(namespace, store);
      }
      return stores.get(namespace);
    },
  };
}
