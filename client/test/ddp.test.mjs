// The parts of the DDP core that need no socket.

import assert from 'node:assert/strict';

import { waitBefore } from '../dist/ddp/backoff.js';
import { readMessage } from '../dist/ddp/wire.js';
import { fromEjson, toEjson, Typed } from '../dist/ejson.js';
import { testAlone } from './support/world.mjs';

testAlone('waits_grow_up_to_a_limit_and_are_never_the_same', () => {
  const limits = { first: 100, most: 1_000 };
  const longest = [0, 1, 2, 3, 4, 1_000].map((failed) => waitBefore(failed, limits, 1));
  assert.deepEqual(longest, [100, 200, 400, 800, 1_000, 1_000]);
  assert.equal(waitBefore(2, limits, 0), 200);
  const waits = Array.from({ length: 100 }, () => waitBefore(5, limits));
  assert.ok(waits.every((wait) => wait >= 500 && wait <= 1_000));
  assert.ok(new Set(waits).size > 90);
});

testAlone('what_is_no_message_is_none', () => {
  const none = [
    '',
    'x',
    'null',
    '[]',
    '{}',
    '{"msg":7}',
    '{"msg":"added"}',
    '{"msg":"changed","collection":1,"id":"a"}',
    '{"msg":"connected"}',
    '{"msg":"nosub","id":3}',
    '{"msg":"result"}',
    '{"server_id":"0"}',
    '{"msg":"removed"}',
  ];
  for (const text of none) assert.deepEqual(readMessage(text), { msg: 'other' }, text);
  assert.deepEqual(readMessage('{"msg":"ready","subs":[1,"a"]}'), { msg: 'ready', subs: ['a'] });
  assert.deepEqual(readMessage('{"msg":"ready"}'), { msg: 'ready', subs: [] });
  const error = (json) => readMessage(`{"msg":"nosub","id":"a","error":${json}}`).error;
  assert.deepEqual(error('{"error":404,"message":"m"}'), {
    code: '404',
    message: 'm',
    details: undefined,
  });
  assert.deepEqual(error('{"error":"gap","reason":"r","details":{"lost":1}}'), {
    code: 'gap',
    message: 'r',
    details: { lost: 1 },
  });
  assert.deepEqual(error('"text"'), { code: '500', message: '"text"', details: undefined });
  assert.deepEqual(error('{}'), { code: '500', message: '500', details: undefined });
});

testAlone('ejson_is_written_as_meteor_writes_it', () => {
  const cases = [
    [new Date(5), { $date: 5 }],
    [new Date(NaN), { $date: null }],
    [NaN, { $InfNaN: 0 }],
    [-Infinity, { $InfNaN: -1 }],
    [new Uint8Array([1, 2]), { $binary: 'AQI=' }],
    [/a\/b/i, { $regexp: 'a\\/b', $flags: 'i' }],
    [new Typed('oid', 'ab'), { $type: 'oid', $value: 'ab' }],
    [{ $date: 1 }, { $escape: { $date: 1 } }],
    [{ $escape: { $date: 1 } }, { $escape: { $escape: { $escape: { $date: 1 } } } }],
    [
      { $unknown: 1, a: [undefined, null] },
      { $unknown: 1, a: [null, null] },
    ],
    [{ a: undefined, b: () => 1, ['__proto__']: 1 }, JSON.parse('{"__proto__":1}')],
  ];
  for (const [value, json] of cases) assert.deepEqual(toEjson(value), json, JSON.stringify(json));
  // Two invalid dates are not equal.
  const comparable = cases.slice(0, 9).filter(([, json]) => json.$date !== null);
  for (const [value, json] of comparable)
    assert.deepEqual(fromEjson(json), value, JSON.stringify(json));
  assert.throws(() => toEjson(1n), TypeError);
  const circle = [];
  circle.push(circle);
  assert.throws(() => toEjson(circle), RangeError);
});

testAlone('ejson_that_makes_no_sense_stays_as_it_is', () => {
  for (const json of [
    { $binary: '*' },
    { $regexp: '(', $flags: '' },
    { $escape: 3 },
    { $date: 1, a: 2 },
    { $regexp: 'a' },
  ]) {
    assert.deepEqual(fromEjson(json), json);
  }
  assert.equal(Number.isNaN(fromEjson({ $date: 'nonsense' }).getTime()), true);
  assert.equal(
    Object.getPrototypeOf(fromEjson(JSON.parse('{"__proto__":{"a":1}}'))),
    Object.prototype,
  );
});
