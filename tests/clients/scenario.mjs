// What is asked of every client: methods, documents, events one by one, an end of them, and a
// connection that is cut. A client is driven through an adapter, which each script makes of that
// client's own API:
//
//   connect()                      resolves when the client says that it is connected
//   call(method, ...params)        resolves to the result, rejects with the server's error
//   subscribe(name, ...params)     at once a handle for the calls below
//   ready(handle)                  resolves at `ready`, rejects with the error of `nosub`
//   stop(handle)                   unsubscribes; resolves at `nosub`
//   onEvent(vent, publication, f)  calls f with every event of that Vent id
//   documents(collection)          what the client has of a collection: an object from id to fields
//   again(handle)                  resolves when, after a cut, the client is connected and
//                                  subscribed again
//   date                           five seconds after the beginning of 1970, as this client has
//                                  dates
//   leaves(error)                  whether the client itself leaves this rejection to nobody, if it
//                                  ever does that

import { Events, check, cutConnections, encoding, isAboutTopics, run, within } from './harness.mjs';
import { topics } from './topics.mjs';

const EVENTS = 50;

/** Vent ids. The first two decide for the encoding that a redis-oplog client wants, the others for a collection. */
const VENTS = { vent: ['kpNzWxsDHYcxAHj5M', 'w7RoyC3yWt5nFQ3aS'], collection: ['vent.room', 'vent.lobby'] }[encoding];

export async function drive(client) {
  await run(async () => {
    await within('connected', client.connect());
    if (isAboutTopics) return topics(client);
    await methods(client);
    await documents(client);
    await refusal(client);
    await events(client);
  }, client.leaves);
}

async function methods(client) {
  const object = { text: 'é "\\', list: [1, { deep: null }], empty: {} };
  check('a method gets an object and returns it', await call(client, 'echo', object, 7), [object, 7]);
  const refused = await failure(call(client, 'throwMeteor'));
  check('a method fails with code and reason', [refused.error, refused.reason], ['code-x', 'reason x']);
  const unknown = await failure(call(client, 'noSuchMethod'));
  check('an unknown method is 404', [unknown.error, unknown.reason], [404, "Method 'noSuchMethod' not found"]);
}

async function documents(client) {
  const handle = client.subscribe('two');
  await within('two is ready', client.ready(handle));
  check('documents are in their collection', client.documents('things'), { a: { n: 1, s: 'x' }, b: { n: 2 } });
  await within('two is stopped', client.stop(handle));
  check('they leave it with the subscription', client.documents('things'), {});
}

async function refusal(client) {
  const error = await failure(client.ready(client.subscribe('threadMessage', VENTS[0], {})));
  check('a subscription is refused with code and reason', [error.error, error.reason], [
    'invalid-arguments',
    'Please supply a valid channel',
  ]);
}

async function events(client) {
  const [first, second] = VENTS.map((vent) => {
    const seen = new Events();
    client.onEvent(vent, 'threadMessage', (event) => seen.add(event));
    return { vent, seen };
  });
  for (const each of [first, second]) {
    each.handle = client.subscribe('threadMessage', each.vent, { channel: 'thread' });
    await within(`${each.vent} is ready`, client.ready(each.handle));
  }

  await numbered(client, [first, second], 'to two subscriptions of one channel');

  await emit(client, { same: true }, 3);
  check('equal events in a row are as many', await first.seen.take(3), Array(3).fill({ same: true }));
  await second.seen.take(3);

  await emit(client, { at: client.date });
  const [{ at }] = await first.seen.take(1);
  check('a date in an event', at, encoding === 'vent' ? '1970-01-01T00:00:05.000Z' : client.date);
  await second.seen.take(1);

  await within(`${first.vent} is stopped`, client.stop(first.handle));
  await emit(client, { after: 'stop' });
  check('the other subscription goes on', await second.seen.take(1), [{ after: 'stop' }]);
  await call(client, 'echo');
  check('no event after the end of a subscription', first.seen.left, []);

  const again = client.again(second.handle);
  cutConnections();
  await within('connected and subscribed again', again);
  await numbered(client, [second], 'after a cut');
  check('nothing for the subscription that had ended', first.seen.left, []);
}

/** Emits numbered events; each subscriber gets each of them once and in order. */
async function numbered(client, subscribers, when) {
  const sent = Array.from({ length: EVENTS }, (_, n) => ({ n }));
  await Promise.all(sent.map((event) => emit(client, event)));
  for (const { vent, seen } of subscribers) {
    check(`${vent}: ${EVENTS} events, once and in order, ${when}`, await seen.take(EVENTS), sent);
  }
  await call(client, 'echo');
  check(`not one more, ${when}`, subscribers.map(({ seen }) => seen.left).flat(), []);
}

function emit(client, object, times = 1) {
  return call(client, 'vent_emit', { channel: 'thread', object, times });
}

function call(client, method, ...params) {
  return within(method, client.call(method, ...params));
}

async function failure(promise) {
  try {
    await within('an error', promise);
  } catch (error) {
    return error;
  }
  throw new Error('an error was expected');
}
