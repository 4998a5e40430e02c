// Users: each has a store of its own, and the connection is theirs before anything is asked of it.

import assert from 'node:assert/strict';

import { MemoryStorage } from '../dist/index.js';
import { codeOf, range, testWithFake, until } from './support/world.mjs';

testWithFake(
  'login_returns_the_user_and_comes_before_what_is_subscribed_and_published',
  async (world) => {
    const { server, topic } = world;
    const { client, told } = world.watched();
    assert.equal(client.user, undefined);
    assert.equal(await client.login('token-ada'), 'ada');
    assert.equal(client.user, 'ada');
    await client.subscribe(topic);
    await client.publish(topic, { n: 1 });
    await server.stop();
    await until('the loss', () => !client.isConnected);
    await server.start();
    await client.publish(topic, { n: 2 });
    await told.untilMessages(2);
    assert.deepEqual(new Set(server.seen.map(([, , user]) => user)), new Set(['ada']));
    assert.equal(server.seen.length, 4);
  },
);

testWithFake('login_takes_other_credentials_too_and_rejects_wrong_ones', async (world) => {
  const { client, told } = world.watched();
  assert.equal(await client.login({ user: 'ben', password: 'x' }), 'ben');
  assert.equal(await codeOf(client.login('nonsense')), '403');
  assert.equal(client.user, 'ben');
  await client.subscribe(world.topic);
  assert.deepEqual(world.server.seen, [['sub', world.topic, 'ben']]);
  assert.deepEqual(told.of('error'), []);
});

testWithFake(
  'topic_102_a_change_of_user_closes_the_store_and_ends_what_is_under_way',
  async (world) => {
    const { server, topic } = world;
    const storage = kept();
    const { client, told } = world.watched({ storage });
    await client.login('token-ada');
    await client.subscribe(topic, '0');
    for (const n of range(1, 3)) await client.publish(topic, { n });
    await told.untilMessages(3);
    await server.stop();
    const code = codeOf(client.publish(topic, { n: 4 }));
    await until(
      'it is stored',
      async () => (await storage.stores.get(`${world.url} ada`).outbox.list()).length === 1,
    );
    assert.equal(await client.login('token-ben', 'ben'), 'ben');
    assert.equal(await code, 'user-changed');
    assert.deepEqual(storage.closed, [`${world.url} `, `${world.url} ada`]);
    assert.deepEqual(await client.load(topic), { messages: [], lastOffset: undefined });

    await server.start();
    await client.subscribe(topic, { last: 1 });
    assert.deepEqual(told.numbers, [1, 2, 3, 3]);
    assert.equal(server.followers(topic), 1);
    await client.login('token-ada', 'ada');
    const { messages, lastOffset } = await client.load(topic);
    assert.deepEqual(
      messages.map(({ n }) => n),
      [1, 2, 3],
    );
    await client.subscribe(topic, lastOffset);
    await until('the outbox is sent', () => server.payloads(topic).length === 4);
    assert.deepEqual(server.seen.at(-1), ['publish', topic, 'ada']);
  },
);

testWithFake('with_user_and_token_what_is_stored_is_there_without_a_connection', async (world) => {
  const { server, topic } = world;
  const storage = kept();
  const options = { storage, user: 'ada', token: 'token-ada' };
  const first = world.watched(options);
  await first.client.subscribe(topic, '0');
  await first.client.publish(topic, { n: 1 });
  await first.told.untilMessages(1);
  await first.client.close();
  await server.stop();
  const second = world.watched(options);
  assert.deepEqual((await second.client.load(topic)).messages, first.told.messages);
  assert.equal(second.client.isConnected, false);
});

testWithFake(
  'a_token_of_another_user_or_of_none_is_an_error_and_nothing_is_asked',
  async (world) => {
    for (const [token, code] of [
      ['token-ben', 'wrong-user'],
      ['nonsense', '403'],
    ]) {
      const { client, told } = world.watched({ user: 'ada', token });
      const subscribed = codeOf(client.subscribe(world.topic));
      const [[error]] = await told.until('error');
      assert.equal(error.code, code);
      assert.deepEqual(world.server.seen, []);
      await client.close();
      assert.equal(await subscribed, 'closed');
    }
  },
);

testWithFake('logout_closes_the_store_and_has_the_token_forgotten', async (world) => {
  const calls = [];
  world.server.drops = ({ msg, method }) => void (msg === 'method' && calls.push(method));
  const { client } = world.watched();
  await client.logout();
  await client.login('token-ada', 'ada');
  await until('the connection', () => client.isConnected);
  await client.logout();
  assert.equal(client.user, undefined);
  assert.deepEqual(calls, ['login', 'login', 'logout']);
  await client.subscribe(world.topic);
  assert.deepEqual(world.server.seen, [['sub', world.topic, undefined]]);
});

/** Storage whose stores outlive the client, and that knows which were closed. */
function kept() {
  const stores = new Map();
  const closed = [];
  return {
    stores,
    closed,
    async open(namespace) {
      if (!stores.has(namespace)) {
        const store = await new MemoryStorage().open();
        store.close = async () => void closed.push(namespace);
        stores.set(namespace, store);
      }
      return stores.get(namespace);
    },
  };
}
