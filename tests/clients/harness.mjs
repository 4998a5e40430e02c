// What the scripts share: where the server is, waits that end, and one line for each thing checked.
//
// A script is started as `node SCRIPT URL`, and what else it needs; for those that use the
// scenario, ENCODING, and `topics` for that of topics. The clients are installed in the folder that UPDRAFT_CLIENTS names. It ends
// with status 0 when all held, and otherwise says what did not.

import { createRequire } from 'node:module';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';

const PATIENCE = 10_000;
const ALTOGETHER = 60_000;

const [, , address, chosen, task] = process.argv;

/** The server: `ws://127.0.0.1:PORT/websocket`. */
export const server = new URL(address);

/** How events are to come: `collection` or `vent`. */
export const encoding = chosen;

/** Whether the client is to be asked about topics. */
export const isAboutTopics = task === 'topics';

/** Loads a package that the tests have installed. */
export const load = createRequire(path.join(process.env.UPDRAFT_CLIENTS, 'package.json'));

/** Checks one thing and says so. */
export function check(what, actual, expected) {
  if (!isDeepStrictEqual(actual, expected)) {
    throw new Error(`${what}\n  expected ${show(expected)}\n  got      ${show(actual)}`);
  }
  console.log(`ok ${what}`);
}

/** Waits until something is as expected, and says so. */
export async function becomes(what, current, expected) {
  const end = Date.now() + PATIENCE;
  while (!isDeepStrictEqual(current(), expected) && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  check(what, current(), expected);
}

/** The promise's value, unless it takes too long. */
export async function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${PATIENCE} ms`)), PATIENCE);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Has the test kill the server and start another on the same port. What the client does about it is its own affair. */
export function restartServer() {
  console.log('> restart the server');
}

/** Has the test cut all connections between client and server. Both live on, and new connections are let through. */
export function cutConnections() {
  console.log('> cut the connections');
}

/** Has the test cut all connections, and publish these numbers to the topic before new ones are let through. */
export function publishMeanwhile(first, last) {
  console.log(`> cut the connections and publish ${first} ${last}`);
}

/** A listener for `changed` messages that calls `f` with the event of each that carries one of this Vent id. */
export function eventsOf(vent, publication, f) {
  return encoding === 'collection'
    ? ({ collection, fields }) => collection === vent && f(fields.event)
    : ({ __vent, id, e }) => __vent === '1' && id === `${vent}.${publication}` && f(e);
}

/** Documents for a client that keeps none, from the `added`, `changed` and `removed` that it passes on. */
export class Documents {
  #collections = {};

  /** A listener for `added`, `changed` and `removed`. */
  take = ({ msg, collection, id, fields, cleared = [] }) => {
    const documents = (this.#collections[collection] ??= {});
    if (msg === 'removed') delete documents[id];
    else documents[id] = { ...documents[id], ...fields };
    for (const name of cleared) delete documents[id][name];
  };

  in(collection) {
    return this.#collections[collection] ?? {};
  }

  /** The connection is lost: the next one sends all documents anew. */
  forget = () => {
    this.#collections = {};
  };
}

/** Events in the order in which they came. */
export class Events {
  #waiting = [];
  #arrived = () => {};

  add(event) {
    this.#waiting.push(event);
    this.#arrived();
  }

  /** The next `count`, when all of them are there, without what came after them. */
  async take(count) {
    const all = new Promise((resolve) => {
      this.#arrived = () => this.#waiting.length >= count && resolve();
      this.#arrived();
    });
    await within(`${count} events`, all).catch((error) => {
      throw new Error(`${error.message}, except ${this.#waiting.length}: ${show(this.#waiting)}`);
    });
    return this.#waiting.splice(0, count);
  }

  /** What nobody has taken. */
  get left() {
    return [...this.#waiting];
  }
}

/**
 * Runs a script to its end, and the process with it: clients keep timers and sockets. `leaves` says
 * which rejections a client is known to leave unhandled, `altogether` how long it may take.
 */
export async function run(script, leaves = () => false, altogether = ALTOGETHER) {
  const fail = (error) => {
    console.log(`FAILED ${error instanceof Error ? error.message : show(error)}`);
    process.exit(1);
  };
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', (error) => leaves(error) || fail(error));
  setTimeout(() => fail(new Error(`not finished within ${altogether} ms`)), altogether);
  await script().catch(fail);
  process.exit(0);
}

function show(value) {
  return JSON.stringify(value) ?? String(value);
}
