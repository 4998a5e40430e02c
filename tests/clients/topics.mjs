// What is asked of clients that know nothing of positions, by the tests of topics: a Vent that
// follows a topic, and a topic as the documents of a collection, over a cut during which more is
// published. Each adapter is described in `scenario.mjs`.
//
// The Vent begins where its handler says, each time that the client subscribes: here at the last 30
// records. A client that comes back gets some of them again, and knows them by their numbers.

import { Events, becomes, check, encoding, publishMeanwhile, within } from './harness.mjs';

const WINDOW = 30;
const LISTED = 5;

/** A Vent id for each encoding: the first is as redis-oplog's client draws it. */
const VENT = { vent: 'kpNzWxsDHYcxAHj5M', collection: 'vent.orders' }[encoding];

export async function topics(client) {
  const seen = new Events();
  // The collection of a Vent has a document about its place too, whose changes are no events.
  client.onEvent(VENT, 'orders', (event) => event !== undefined && seen.add(event));
  await publish(client, 1, 5);

  const list = client.subscribe('list');
  await within('the list is ready', client.ready(list));
  await listed(client, 5);
  const vent = client.subscribe('orders', VENT, { from: { last: WINDOW } });
  await within('the Vent is ready', client.ready(vent));
  check('what the topic had comes first', await seen.take(5), numbers(1, 5));

  await publish(client, 6, 25);
  check('then what is published, once and in order', await seen.take(20), numbers(6, 25));
  await listed(client, 25);

  const again = Promise.all([client.again(vent), client.again(list)]);
  publishMeanwhile(26, 45);
  await within('connected and subscribed again', again);
  check('what it has missed, behind what it had', await after(seen, 25, 45), numbers(26, 45));
  await listed(client, 45);

  await publish(client, 46, 55);
  check('then what is published, as before', await seen.take(10), numbers(46, 55));
  await listed(client, 55);
  check('and not one more', seen.left, []);
}

/** The numbers that are higher than one, up to another. */
async function after(seen, known, last) {
  const missed = [];
  while (missed.at(-1) !== last) {
    const [number] = await seen.take(1);
    if (number > known) missed.push(number);
  }
  return missed;
}

/** Waits until the documents are those of the last records. */
async function listed(client, last) {
  const expected = numbers(last - LISTED + 1, last);
  const values = () => {
    const found = Object.values(client.documents('list'));
    return found.map(({ value }) => value).sort((a, b) => a - b);
  };
  await becomes(`the list ends with ${last}`, values, expected);
}

async function publish(client, first, last) {
  for (const number of numbers(first, last)) {
    await within('a publication', client.call('order', number));
  }
}

function numbers(first, last) {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
