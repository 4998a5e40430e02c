// A client that works for a group.

import assert from 'node:assert/strict';

import { FakeGroup } from './support/group.mjs';
import { codeOf, pause, testWithFake, until } from './support/world.mjs';

const GROUP = 'orders.work';

/** A client whose errors are kept, and a group to work for. */
function open(world, options) {
  const group = FakeGroup.of(world.server, GROUP);
  return { group, ...world.watched(options) };
}

/** Something to wait for that a test opens. */
function gate() {
  let pass;
  const passed = new Promise((resolve) => (pass = resolve));
  return { pass, passed };
}

testWithFake('a handler that resolves acknowledges', async (world) => {
  const { group, client, told } = open(world);
  group.publish({ at: { $date: 5 }, total: 7 }, { key: 'ada', meta: { by: 'web' } });
  const got = [];
  const consumer = await client.consume(GROUP, async (delivery) => {
    got.push(delivery);
    await pause(1);
  });
  group.publish(8);
  await until('both are handled', () => group.lag === 0);
  const [first, second] = got;
  assert.deepEqual(first.payload, { at: new Date(5), total: 7 });
  assert.deepEqual(
    [first.topic, first.key, first.meta, first.deliveries, first.generation],
    ['orders', 'ada', { by: 'web' }, 1, 1],
  );
  assert.ok(Math.abs(first.time - Date.now()) < 60_000);
  assert.equal(second.payload, 8);
  assert.deepEqual(group.answers, [
    ['ack', { at: { $date: 5 }, total: 7 }],
    ['ack', 8],
  ]);
  await consumer.close();
  await until('it has left', () => group.leavers === 1);
  assert.deepEqual(told.of('error'), []);
});

testWithFake('a handler that throws gives back, after a delay of its choice', async (world) => {
  const { group, client, told } = open(world);
  for (const payload of [1, 2, 3]) group.publish(payload);
  const delay = (error, { payload }) => (payload === 2 ? 250 : undefined);
  const handler = ({ payload, deliveries }) => {
    if (deliveries === 1) throw new Error(`not ${payload}`);
  };
  await client.consume(GROUP, handler, { credit: 1, delay });
  await until('all are handled', () => group.lag === 0);
  assert.deepEqual(group.answered('nack'), [
    [1, null, 'not 1'],
    [2, 250, 'not 2'],
    [3, null, 'not 3'],
  ]);
  assert.deepEqual(
    told.of('error').map(([error]) => [error.code, error.cause.message]),
    [1, 2, 3].map((payload) => ['handler-failed', `not ${payload}`]),
  );
});

testWithFake('what cannot be handled is rejected', async (world) => {
  const decode = (value) => {
    if (value === 'bad') throw new Error('undecodable');
    return value;
  };
  const { group, client } = open(world, { decode });
  group.publish('bad');
  group.publish('wrong');
  const seen = [];
  await client.consume(GROUP, async (delivery) => {
    seen.push(delivery.payload);
    await delivery.reject('no order');
  });
  await until('both are set aside', () => group.lag === 0);
  assert.deepEqual(group.answers, [
    ['reject', 'bad', 'undecodable'],
    ['reject', 'wrong', 'no order'],
  ]);
  assert.deepEqual(seen, ['wrong']);
});

testWithFake('a client has no more than its credit, and handles keys in order', async (world) => {
  const { group, client } = open(world);
  const gates = new Map();
  const running = [];
  for (const key of ['a', 'a', 'b', undefined, 'b', 'a']) {
    group.publish(`${key}${gates.size}`, key === undefined ? {} : { key });
    gates.set(`${key}${gates.size}`, gate());
  }
  await client.consume(
    GROUP,
    async ({ payload }) => {
      running.push(payload);
      await gates.get(payload).passed;
    },
    { credit: 5 },
  );
  await until('three run', () => running.length === 3);
  await pause(30);
  const atOnce = [...running];
  for (const { pass } of gates.values()) pass();
  assert.deepEqual(atOnce.sort(), ['a0', 'b2', 'undefined3']);
  await until('all are handled', () => group.lag === 0);
  const ofA = running.filter((payload) => payload.startsWith('a'));
  assert.deepEqual(ofA, ['a0', 'a1', 'a5']);
});

testWithFake('behind a failure of a key nothing of it is handled twice', async (world) => {
  const { group, client, told } = open(world);
  for (const payload of [1, 2, 3]) group.publish(payload, { key: 'ada' });
  const handled = [];
  await client.consume(GROUP, ({ payload, deliveries }) => {
    handled.push(payload);
    if (payload === 1 && deliveries === 1) throw new Error('once');
  });
  await until('all are handled', () => group.lag === 0);
  assert.deepEqual(handled, [1, 1, 2, 3]);
  // Those behind it took no time at all.
  assert.deepEqual(
    told.of('error').map(([error]) => error.code),
    ['handler-failed'],
  );
});

testWithFake('the time of a record is extended while its handler runs', async (world) => {
  const { group, client, told } = open(world);
  group.ackWait = 60;
  group.publish('long');
  const { pass, passed } = gate();
  await client.consume(GROUP, () => passed);
  await until('three extensions', () => group.answered('extend').length >= 3);
  pass();
  await until('it is handled', () => group.lag === 0);
  const count = group.answers.length;
  await pause(100);
  assert.equal(group.answers.length, count, 'then no more');
  assert.deepEqual(told.of('error'), []);
});

testWithFake('a handler that takes too long is told, and does not acknowledge', async (world) => {
  const { group, client, told } = open(world);
  group.ackWait = 60;
  group.publish('long');
  const aborted = gate();
  let calls = 0;
  await client.consume(GROUP, async ({ signal }) => {
    if ((calls += 1) > 1) return;
    signal.addEventListener('abort', aborted.pass);
    await aborted.passed;
  });
  await until('it runs', () => calls === 1);
  group.expire();
  await until('it is handled anew', () => group.lag === 0);
  await aborted.passed;
  assert.equal(group.answered('ack').length, 1);
  assert.deepEqual(
    told.of('error').map(([error]) => error.code),
    ['stale'],
  );
});

testWithFake('a session that goes on keeps what it has', async (world) => {
  const { group, client, told } = open(world);
  group.publish('during');
  const { pass, passed } = gate();
  let isAborted = false;
  await client.consume(GROUP, async ({ signal }) => {
    signal.addEventListener('abort', () => (isAborted = true));
    await passed;
  });
  await until('it runs', () => group.lag === 1);
  const { sessions } = world.server.counts;
  world.server.cut();
  // The answer waits for the connection.
  pass();
  await until('it is handled', () => group.lag === 0);
  assert.equal(world.server.counts.sessions, sessions);
  assert.deepEqual(group.answered('ack'), [['during']]);
  assert.equal(isAborted, false);
  assert.deepEqual(told.of('error'), []);
});

testWithFake('a new session begins anew', async (world) => {
  const { group, client, told } = open(world);
  group.publish('again');
  let calls = 0;
  const aborted = gate();
  await client.consume(GROUP, async ({ signal }) => {
    if ((calls += 1) > 1) return;
    signal.addEventListener('abort', aborted.pass);
    await aborted.passed;
  });
  await until('it runs', () => calls === 1);
  world.server.forgetSessions();
  await until('it is handled', () => group.lag === 0);
  assert.equal(calls, 2);
  assert.deepEqual(group.answered('ack'), [['again']]);
  assert.deepEqual(told.of('error'), []);
});

testWithFake('closing waits for what runs, and leaves the rest to others', async (world) => {
  const { group, client } = open(world);
  for (const payload of [1, 2, 3]) group.publish(payload, { key: 'ada' });
  const { pass, passed } = gate();
  const handled = [];
  const consumer = await client.consume(GROUP, async ({ payload }) => {
    handled.push(payload);
    await passed;
  });
  await until('one runs', () => handled.length === 1);
  let isClosed = false;
  const closing = consumer.close().then(() => (isClosed = true));
  group.publish(4);
  await pause(30);
  const wasClosed = isClosed;
  pass();
  assert.equal(wasClosed, false);
  await closing;
  await until('it has left', () => group.leavers === 1);
  assert.deepEqual(handled, [1]);
  assert.deepEqual(group.answered('ack'), [[1]]);
  // Others have them.
  await client.consume(GROUP, ({ payload }) => void handled.push(payload));
  await until('all are handled', () => group.lag === 0);
  assert.deepEqual(handled.sort(), [1, 2, 3, 4]);
  await client.close();
  assert.equal(await codeOf(client.consume(GROUP, () => {})), 'closed');
});

testWithFake('closing does not wait for ever', async (world) => {
  const { group, client, told } = open(world);
  group.publish('stuck');
  group.publish('behind it');
  const { pass, passed } = gate();
  const signals = [];
  const stuck = async ({ signal }) => {
    signals.push(signal);
    await passed;
  };
  const consumer = await client.consume(GROUP, stuck, { credit: 1 });
  await until('one runs', () => signals.length === 1);
  await consumer.close({ timeout: 1 });
  assert.equal(signals[0].aborted, true);
  assert.equal(consumer.pending, 0);
  await until('it has left', () => group.leavers === 1);
  // Others have them, and what still runs says nothing.
  const handled = [];
  const other = await client.consume(GROUP, ({ payload }) => void handled.push(payload));
  await until('all are handled', () => group.lag === 0);
  assert.deepEqual(handled.sort(), ['behind it', 'stuck']);
  pass();
  await other.close({ timeout: Infinity });
  assert.deepEqual(group.answers.length, 2);
  assert.deepEqual(told.of('error'), []);
});

testWithFake('refusals', async (world) => {
  const { group, client, told } = open(world);
  world.server.refusedSubscriptions.push({ error: 403, reason: 'no', message: 'no [403]' });
  assert.equal(await codeOf(client.consume(GROUP, () => {})), '403');
  assert.equal(await codeOf(client.consume('nothing', () => {})), '404');
  // What may pass is tried again.
  world.server.refusedSubscriptions.push({ error: 'backend-unavailable', message: 'away' });
  const consumer = await client.consume(GROUP, () => {});
  assert.deepEqual(told.of('error'), []);
  group.end({ error: 'unknown-group', message: 'gone [unknown-group]' });
  const [[error]] = await told.until('error');
  assert.equal(error.code, 'unknown-group');
  await consumer.close();
});

testWithFake('the user of the client works, and no other', async (world) => {
  const { group, client } = open(world, { user: 'ada', token: 'token-ada' });
  const consumer = await client.consume(GROUP, () => {});
  assert.deepEqual(world.server.seen.at(-1), ['sub', GROUP, 'ada']);
  const waiting = client.consume(GROUP, () => new Promise(() => {}));
  await waiting;
  group.publish('of ada');
  await client.login('token-ben', 'ben');
  await until('both have left', () => group.leavers === 2);
  await consumer.close();
});
