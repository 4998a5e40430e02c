// What tests share: a server, clients that are closed afterwards, waits, what a client told.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test as nodeTest } from 'node:test';

import WebSocket from 'ws';

import { Client } from '../../dist/index.js';
import { Proxy } from './proxy.mjs';
import { FakeServer } from './server.mjs';

const PATIENCE = 20_000;

/** A server that runs elsewhere: then tests that have to interfere with the server are skipped. */
const REAL = process.env.UPDRAFT_URL;

/** The file of these tests, and how many of its tests had a topic. */
const FILE = path.basename(process.argv[1], '.test.mjs');
let count = 0;

/** A test that needs only the wire of a server: it runs against that of `UPDRAFT_URL` too. */
export function test(name, body) {
  nodeTest(name, { timeout: 120_000 }, async (context) => body(await World.open(context, REAL)));
}

/** A test that has to interfere with the server. */
export function testWithFake(name, body) {
  const skip = REAL
    ? 'it interferes with the server, which only the one of the tests allows'
    : false;
  nodeTest(name, { timeout: 120_000, skip }, async (context) => body(await World.open(context)));
}

/** A test that the server of `UPDRAFT_URL` has nothing to do with: it does not run again for it. */
export function testAlone(name, body) {
  const skip = REAL ? 'it is the same with any server' : false;
  nodeTest(name, { timeout: 120_000, skip }, body);
}

/** A server and its clients, for one test. */
export class World {
  /** A topic that is this test's own. A second one has `-2` behind its name. */
  topic = `test-${FILE}-${(count += 1)}`;
  #clients = [];
  #context;

  static async open(context, real) {
    const world = new World();
    world.#context = context;
    world.server = real ? undefined : await FakeServer.start();
    world.url = real ?? world.server.url;
    context.after(async () => {
      for (const client of world.#clients) await client.close();
      await world.server?.stop();
    });
    return world;
  }

  /** Has something done at the end of the test, after its clients are closed. */
  after(action) {
    this.#context.after(action);
  }

  /** A way to the server that can be cut. */
  async proxy(random) {
    const proxy = new Proxy(this.url, random);
    await proxy.start();
    this.after(() => proxy.stop());
    return proxy;
  }

  /** A client that comes back soon. Its errors are kept, not printed. */
  client(options = {}) {
    const client = new Client({
      targets: this.url,
      WebSocket,
      backoff: { first: 5, most: 20 },
      ...options,
    });
    this.#clients.push(client);
    return client;
  }

  /** A client, and what it tells. */
  watched(options = {}) {
    const client = this.client(options);
    return { client, told: new Told(client) };
  }
}

/** All that a client tells. */
export class Told {
  /** Names and parameters, in order. */
  events = [];
  /** The messages of all channels. */
  messages = [];

  constructor(client) {
    const names = [
      'connect',
      'reconnect',
      'disconnect',
      'error',
      'gap',
      'reset',
      'caughtup',
      'evicted',
    ];
    for (const name of names)
      client.on(name, (...parameters) => this.events.push([name, ...parameters]));
    client.on('messages', (channel, messages) => {
      this.events.push(['messages', channel, messages]);
      this.messages.push(...messages);
    });
  }

  of(name) {
    return this.events.filter(([found]) => found === name).map(([, ...parameters]) => parameters);
  }

  /** The member `n` of all messages. */
  get numbers() {
    return this.messages.map(({ n }) => n);
  }

  async until(name, count = 1) {
    await until(`${count} × ${name}`, () => this.of(name).length >= count);
    return this.of(name);
  }

  async untilMessages(count) {
    await until(`${count} messages`, () => this.messages.length >= count).catch((error) => {
      throw new Error(
        `${error.message}, but ${this.messages.length}: ${JSON.stringify(this.numbers.slice(-5))}`,
      );
    });
    return this.messages;
  }
}

/** Lets time pass, in milliseconds. */
export function pause(time) {
  return new Promise((resolve) => setTimeout(resolve, time));
}

/** Waits for a condition. */
export async function until(what, holds) {
  const end = Date.now() + PATIENCE;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${PATIENCE} ms`);
    await pause(5);
  }
}

/** The code with which a promise rejects. */
export async function codeOf(promise) {
  const error = await promise.then(
    () => assert.fail('it does not reject'),
    (error) => error,
  );
  return error.code;
}

/** The numbers from `first` to `last`. */
export function range(first, last) {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

/** Random numbers of a seed that is printed: `UPDRAFT_SEED` repeats them. */
export function seeded() {
  let state = Number(process.env.UPDRAFT_SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`UPDRAFT_SEED=${state}`);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
