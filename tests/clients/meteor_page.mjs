// A page with Meteor's own client in headless Chromium: the packages of Meteor 1.3.5, as npm has them, and Vent on
// top. All of it comes from the server of URL, which stands in front of an app.
//
// Started as `node meteor_page.mjs URL`. It is done once over each transport that Meteor's client takes. `> publish
// CHANNEL PAYLOAD` asks the test to publish over Redis.

import { becomes, check, run, server, within } from './harness.mjs';
import { launch } from './pages.mjs';

const EVENTS = 100;

run(async () => {
  const browser = await launch();
  for (const transport of ['websocket', 'xhr-polling']) {
    console.log(`over ${transport}`);
    const page = await open(browser, transport);
    await converse(page);
    check('the transport', page.asked.has(transport === 'websocket' ? 'websocket' : 'xhr_send'), true);
    check('nothing is wrong in the console', page.problems, []);
    await page.close();
  }
  await browser.close();
});

async function open(browser, transport) {
  const page = await (await browser.newContext()).newPage();
  page.problems = [];
  page.asked = new Set();
  const note = (url) => page.asked.add(new URL(url).pathname.split('/').pop());
  page.on('request', (request) => note(request.url()));
  page.on('websocket', (socket) => note(socket.url()));
  page.on('pageerror', (error) => page.problems.push(String(error)));
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && page.problems.push(message.text()));
  // The client does without where there are none.
  if (transport !== 'websocket') await page.addInitScript(() => delete window.WebSocket);
  await page.goto(`http://${server.host}/`);
  return page;
}

async function converse(page) {
  const connected = () => page.evaluate(() => Meteor.status().connected);
  await eventually('the client is connected', connected);
  const session = await call(page, 'session');
  check('page and app agree about the session', await page.evaluate(() => Meteor.connection._lastSessionId), session);

  await page.evaluate(() => {
    window.things = new Mongo.Collection('things');
    window.documents = Meteor.subscribe('things');
    window.events = { first: [], second: [] };
    window.vents = {};
    for (const name of ['first', 'second']) {
      vents[name] = Vent.subscribe('threadMessage', { channel: 'thread' });
      vents[name].listen((event) => events[name].push(event));
    }
  });
  await eventually('all is ready', () => page.evaluate(() => [documents, vents.first, vents.second].every((it) => it.ready())));
  check('documents are the app’s', await page.evaluate(() => things.find().fetch()), [{ _id: 'a', n: 1 }]);

  const sent = Array.from({ length: EVENTS }, (_, n) => ({ n }));
  for (const event of sent) await call(page, 'vent_emit', { channel: 'thread', object: event });
  await arrive(page, 'what the app emits', { first: sent, second: sent });
  publish('thread', '{"text":"from Redis"}');
  await arrive(page, 'what anybody publishes', { first: [{ text: 'from Redis' }], second: [{ text: 'from Redis' }] });

  await page.evaluate(() => vents.first.stop());
  await call(page, 'vent_emit', { channel: 'thread', object: { after: 'stop' } });
  await arrive(page, 'the other subscription goes on', { first: [], second: [{ after: 'stop' }] });

  await page.evaluate(() => Meteor.disconnect());
  check('the client is offline', await page.evaluate(() => Meteor.status().status), 'offline');
  await page.evaluate(() => Meteor.reconnect());
  await eventually('it is connected again', connected);
  // The client subscribes again before it calls, and methods wait for the subscriptions before them.
  check('it has a new session', (await call(page, 'session')) !== session, true);
  await call(page, 'vent_emit', { channel: 'thread', object: { again: true } });
  await arrive(page, 'events come in the new session', { first: [], second: [{ again: true }] });
  check('so do documents', await page.evaluate(() => things.find().fetch()), [{ _id: 'a', n: 1 }]);
}

/** Waits until these events have come and no others. They are taken. */
async function arrive(page, what, expected) {
  const current = {};
  const look = async () => Object.assign(current, await page.evaluate(() => events));
  const looking = setInterval(() => look().catch(() => {}), 20);
  await becomes(what, () => current, expected).finally(() => clearInterval(looking));
  await page.evaluate(() => Object.keys(events).forEach((name) => (events[name] = [])));
}

async function eventually(what, holds) {
  const come = async () => {
    while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  await within(what, come());
  check(what, true, true);
}

function call(page, name, ...params) {
  const result = page.evaluate(
    ([name, params]) =>
      new Promise((resolve, reject) => {
        Meteor.apply(name, params, (error, result) => (error ? reject(new Error(error.message)) : resolve(result)));
      }),
    [name, params],
  );
  return within(name, result);
}

function publish(channel, payload) {
  console.log(`> publish ${channel} ${payload}`);
}
