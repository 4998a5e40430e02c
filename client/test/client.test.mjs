// The calls and events of a client, as programs use them.

import assert from 'node:assert/strict';

import WebSocket from 'ws';

import { Client, recordOf, Typed, UpdraftError } from '../dist/index.js';
import { codeOf, range, test, testWithFake, until } from './support/world.mjs';

test('targets_are_a_list_or_a_text_and_get_a_scheme_and_a_path', async (world) => {
  const { host } = new URL(world.url);
  for (const targets of [host, `${host}, ${host}`, [world.url], `http://${host}`]) {
    const { told } = world.watched({ targets });
    assert.deepEqual(await told.until('connect'), [[new URL(world.url).href]]);
  }
  for (const targets of ['', [], 'ftp://example', 'ws://', 7]) {
    assert.throws(
      () => new Client({ targets, WebSocket }),
      { name: /UpdraftError|TypeError/ },
      String(targets),
    );
  }
  assert.throws(() => new Client({ targets: host, WebSocket: 1 }), UpdraftError);
});

testWithFake('targets_are_tried_in_order_and_the_one_that_answers_is_kept', async (world) => {
  const dead = 'ws://127.0.0.1:1/websocket';
  const { told } = world.watched({ targets: [dead, world.url] });
  assert.deepEqual(await told.until('connect'), [[world.url]]);
  world.server.cut();
  assert.deepEqual(await told.until('reconnect'), [[world.url]]);
  assert.equal(told.of('disconnect').length, 1);
  assert.equal(world.server.counts.sessions, 1, 'the session went on');
});

test('publish_takes_keys_and_values_and_returns_the_offset_of_the_message', async (world) => {
  const { client, told } = world.watched();
  assert.equal(await client.subscribe(world.topic, '0'), true);
  const offset = await client.publish(world.topic, 'text', 'hi', 'more', { a: [1, null] });
  await told.untilMessages(1);
  assert.deepEqual(told.messages, [{ offset, text: 'hi', more: { a: [1, null] } }]);
  assert.deepEqual(told.of('messages'), [[world.topic, told.messages]]);
});

test('topic_103_publish_rejects_half_a_pair_of_key_and_value', async (world) => {
  const client = world.client();
  const error = { name: 'UpdraftError', message: 'Invalid argument count!' };
  await assert.rejects(client.publish(world.topic), error);
  await assert.rejects(client.publish(world.topic, 'a'), error);
  await assert.rejects(client.publish(world.topic, 'a', 1, 'b'), error);
  await assert.rejects(client.publish(world.topic, {}, {}, {}), error);
  assert.equal(await codeOf(client.publish(world.topic, 'a', 1, 2, 3)), 'invalid-arguments');
});

test('publish_takes_an_object_with_key_id_and_metadata', async (world) => {
  const { client, told } = world.watched();
  await client.subscribe(world.topic);
  const before = Date.now() - 60_000;
  const offset = await client.publish(
    world.topic,
    { n: 1 },
    { key: 'k', id: 'once', meta: { by: 'test' } },
  );
  const again = await client.publish(world.topic, { n: 1 }, { id: 'once' });
  assert.equal(again, offset);
  await client.publish(world.topic, { n: 2 });
  await client.publish(world.topic, [3]);
  const [first, second, third] = await told.untilMessages(3);
  assert.deepEqual([first, second.n, third.value], [{ offset, n: 1 }, 2, [3]]);
  const { key, meta, time, isTombstone } = recordOf(first);
  assert.deepEqual([key, meta, isTombstone], ['k', { by: 'test' }, false]);
  assert.ok(time.getTime() > before);
  assert.throws(() => recordOf({ ...first }), TypeError);
});

test('a_deletion_is_a_message_without_members', async (world) => {
  const { client, told } = world.watched();
  await client.subscribe(world.topic);
  const offset = await client.publish(world.topic, null, { tombstone: true, compact: 'a' });
  const [message] = await told.untilMessages(1);
  assert.deepEqual(message, { offset });
  const { isTombstone, compact } = recordOf(message);
  assert.deepEqual([isTombstone, compact], [true, 'a']);
  for (const wrong of [
    [null],
    [null, { tombstone: true }],
    [{ n: 1 }, { tombstone: true, compact: 'a' }],
  ]) {
    assert.equal(await codeOf(client.publish(world.topic, ...wrong)), 'invalid-arguments');
  }
});

test('values_of_ejson_come_back_as_they_were', async (world) => {
  const { client, told } = world.watched();
  await client.subscribe(world.topic);
  const value = {
    date: new Date(1_700_000_000_123),
    bytes: new Uint8Array([0, 255, 7]),
    pattern: /a+/gi,
    endless: [Infinity, -Infinity, NaN],
    typed: new Typed('oid', '0123456789abcdef01234567'),
    looksLikeADate: { $date: 5 },
    absent: undefined,
    text: 'ä\u2028😀',
  };
  await client.publish(world.topic, value);
  const [{ offset, ...found }] = await told.untilMessages(1);
  const { absent, ...expected } = value;
  assert.equal(typeof offset, 'string');
  assert.deepEqual(found, expected);
  await assert.rejects(client.publish(world.topic, { n: 1n }), TypeError);
});

test('encode_and_decode_are_applied_to_each_value', async (world) => {
  const options = { encode: (value) => JSON.stringify(value), decode: (text) => JSON.parse(text) };
  const { client, told } = world.watched(options);
  await client.subscribe(world.topic);
  const offset = await client.publish(world.topic, 'a', { b: 1 }, 'c', 'd');
  assert.deepEqual(await told.untilMessages(1), [{ offset, a: { b: 1 }, c: 'd' }]);
  assert.deepEqual((await client.load(world.topic)).messages, told.messages);
});

test('a_message_that_is_not_decoded_is_an_error_and_the_stream_goes_on', async (world) => {
  const decode = (value) => {
    if (value === 'bad') throw new Error('no');
    return value;
  };
  const { client, told } = world.watched({ decode });
  await client.subscribe(world.topic);
  const offsets = [];
  for (const n of [1, 'bad', 3]) offsets.push(await client.publish(world.topic, { n }));
  await told.untilMessages(2);
  assert.deepEqual(told.numbers, [1, 3]);
  const [[error]] = await told.until('error');
  assert.deepEqual(
    [error.code, error.channel, error.position],
    ['decode-failed', world.topic, offsets[1]],
  );
  assert.equal(error.cause.message, 'no');
});

test('a_handler_that_throws_or_rejects_does_not_stop_the_stream', async (world) => {
  const { client, told } = world.watched();
  client.on('messages', () => {
    throw new Error('thrown');
  });
  client.on('messages', async () => {
    throw new Error('rejected');
  });
  await client.subscribe(world.topic);
  for (const n of range(1, 3)) await client.publish(world.topic, { n });
  await told.untilMessages(3);
  assert.deepEqual(told.numbers, [1, 2, 3]);
  const errors = await told.until('error', 6);
  assert.deepEqual(
    new Set(errors.map(([{ code, cause }]) => `${code} ${cause.message}`)),
    new Set(['handler-failed thrown', 'handler-failed rejected']),
  );
});

test('handlers_can_be_removed', async (world) => {
  const client = world.client();
  const seen = [];
  const handler = () => seen.push('off');
  client.on('messages', handler);
  const remove = client.on('messages', () => seen.push('removed'));
  client.on('messages', () => seen.push('kept'));
  client.off('messages', handler);
  remove();
  await client.subscribe(world.topic);
  await client.publish(world.topic, { n: 1 });
  await until('the message', () => seen.length > 0);
  assert.deepEqual(seen, ['kept']);
});

test('topic_102_load_and_then_subscribe_give_history_and_live_without_overlap', async (world) => {
  const { MemoryStorage } = await import('../dist/index.js');
  const store = await new MemoryStorage().open();
  store.close = async () => {};
  const storage = { open: async () => store };
  const first = world.watched({ storage });
  assert.deepEqual(await first.client.load(world.topic), { messages: [], lastOffset: undefined });
  await first.client.subscribe(world.topic, '0');
  const offsets = [];
  for (const n of range(1, 5)) offsets.push(await first.client.publish(world.topic, { n }));
  await first.told.untilMessages(5);
  await first.client.close();

  const producer = world.client();
  for (const n of range(6, 8)) await producer.publish(world.topic, { n });
  const second = world.watched({ storage });
  const { messages, lastOffset } = await second.client.load(world.topic);
  assert.deepEqual(messages, first.told.messages);
  assert.equal(lastOffset, offsets[4]);
  await second.client.subscribe(world.topic, lastOffset);
  assert.deepEqual(second.told.numbers, [6, 7, 8]);
  await producer.publish(world.topic, { n: 9 });
  await second.told.untilMessages(4);
  assert.deepEqual(second.told.numbers, [6, 7, 8, 9]);
  const all = await second.client.load(world.topic);
  assert.deepEqual(
    all.messages.map(({ n }) => n),
    range(1, 9),
  );
});

test('subscribe_begins_where_the_offset_says', async (world) => {
  const producer = world.client();
  const offsets = [];
  for (const n of range(1, 3))
    offsets.push(await producer.publish(world.topic, { n }, { compact: `c${n % 2}` }));
  const middle = new Date(Date.now() + 1);
  await until('a later time', () => Date.now() > middle.getTime() + 1);
  for (const n of range(4, 5)) await producer.publish(world.topic, { n }, { compact: `c${n % 2}` });
  const starts = [
    ['0', [1, 2, 3, 4, 5]],
    ['$', []],
    [undefined, []],
    [offsets[1], [3, 4, 5]],
    [{ last: 2 }, [4, 5]],
    [{ last: 0 }, []],
    [{ last: 99 }, [1, 2, 3, 4, 5]],
    [{ time: middle }, [4, 5]],
    [{ time: middle.getTime() }, [4, 5]],
    ['snapshot', [4, 5]],
  ];
  const watched = starts.map(([start, expected]) => ({ start, expected, ...world.watched() }));
  for (const { client, start } of watched)
    assert.equal(await client.subscribe(world.topic, start), true);
  for (const { told, start, expected } of watched) {
    assert.deepEqual(told.numbers, expected, JSON.stringify(start));
    assert.equal(told.of('caughtup').length, 1);
  }
  const offset = await producer.publish(world.topic, { n: 6 });
  for (const { told, client, expected } of watched) {
    await told.untilMessages(expected.length + 1);
    assert.deepEqual(told.numbers, [...expected, 6]);
    await until('it is stored', async () => (await client.load(world.topic)).lastOffset === offset);
  }
  for (const offset of ['', {}, { last: -1 }, { last: 1.5 }, { time: 'x' }, null, 7]) {
    assert.equal(await codeOf(producer.subscribe(world.topic, offset)), 'invalid-arguments');
  }
});

test('subscribing_twice_has_no_effect_and_after_unsubscribing_it_begins_anew', async (world) => {
  const { client, told } = world.watched();
  const producer = world.client();
  await producer.publish(world.topic, { n: 1 });
  assert.deepEqual(
    await Promise.all([client.subscribe(world.topic, '0'), client.subscribe(world.topic, '0')]),
    [true, true],
  );
  assert.equal(await client.subscribe(world.topic, { last: 1 }), true);
  await producer.publish(world.topic, { n: 2 });
  await told.untilMessages(2);
  assert.equal(await client.unsubscribe(world.topic), true);
  assert.equal(await client.unsubscribe(world.topic), true);
  const { lastOffset } = await client.load(world.topic);
  await producer.publish(world.topic, { n: 3 });
  assert.equal(await client.subscribe(world.topic, lastOffset), true);
  assert.deepEqual(told.numbers, [1, 2, 3]);
});

test('a_subscription_that_is_ended_and_made_again_at_once_is_the_last_one', async (world) => {
  const { client, told } = world.watched();
  for (const n of range(1, 3)) await client.publish(world.topic, { n });
  const first = codeOf(client.subscribe(world.topic, '0'));
  const ended = client.unsubscribe(world.topic);
  await Promise.all([client.subscribe(world.topic, { last: 1 }), ended]);
  assert.equal(await first, 'unsubscribed');
  assert.deepEqual(told.numbers, [3]);
  await client.publish(world.topic, { n: 4 });
  await told.untilMessages(2);
  assert.deepEqual(told.numbers, [3, 4]);
});

test('an_offset_outside_of_what_is_stored_begins_a_new_run', async (world) => {
  const { client } = world.watched();
  for (const n of range(1, 4)) await client.publish(world.topic, { n });
  await client.subscribe(world.topic, '0');
  await client.unsubscribe(world.topic);
  await client.publish(world.topic, { n: 5 });
  await client.subscribe(world.topic, { last: 2 });
  const stored = await client.load(world.topic);
  assert.deepEqual(
    stored.messages.map(({ n }) => n),
    [4, 5],
  );
});

test('a_malformed_position_rejects_and_the_connection_stays', async (world) => {
  const { client, told } = world.watched();
  await client.subscribe(`${world.topic}-2`);
  assert.equal(await codeOf(client.subscribe(world.topic, 'nonsense')), 'bad-position');
  assert.equal(await client.subscribe(world.topic, '0'), true);
  await client.publish(world.topic, { n: 1 });
  await told.untilMessages(1);
  assert.deepEqual(told.of('disconnect'), []);
  assert.deepEqual(told.of('error'), []);
});

test('no_more_than_keep_messages_are_kept', async (world) => {
  const { client, told } = world.watched({ keep: 20 });
  await client.subscribe(world.topic);
  await Promise.all(range(1, 100).map((n) => client.publish(world.topic, { n })));
  await told.untilMessages(100);
  assert.deepEqual(told.numbers, range(1, 100));
  const { messages, lastOffset } = await client.load(world.topic);
  assert.ok(messages.length <= 22 && messages.length > 10, String(messages.length));
  assert.equal(lastOffset, told.messages.at(-1).offset);
  assert.deepEqual(told.of('evicted'), []);
  await client.clear();
  assert.deepEqual(await client.load(world.topic), { messages: [], lastOffset: undefined });
});

test('a_closed_client_rejects_what_is_asked_and_what_waits', async (world) => {
  const client = world.client({ targets: 'ws://127.0.0.1:1/websocket' });
  const waiting = [
    client.subscribe(world.topic),
    client.publish(world.topic, { n: 1 }),
    client.login('token-ada'),
  ];
  const codes = Promise.all(waiting.map(codeOf));
  await new Promise((resolve) => setTimeout(resolve, 20));
  await client.close();
  await client.close();
  assert.deepEqual(await codes, ['closed', 'closed', 'closed']);
  for (const call of ['load', 'subscribe', 'unsubscribe', 'clear']) {
    assert.equal(await codeOf(client[call](world.topic)), 'closed');
  }
  assert.equal(await codeOf(client.publish(world.topic, { n: 1 })), 'closed');
});
