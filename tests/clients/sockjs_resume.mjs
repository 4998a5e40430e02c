// A DDP client over sockjs-client 1.6.1 in headless Chromium, whose connections are cut while it is
// sent events: it comes back over another transport each time, and has missed nothing.
//
// Started as `node sockjs_resume.mjs URL`, where there are `/sockjs`, `/page` and the client as
// `/sockjs.js`. With each cut the test emits the next `EVENTS` numbers, and lets nobody in for a
// moment.

import { setTimeout as sleep } from 'node:timers/promises';

import { check, cutConnections, run, server, within } from './harness.mjs';
import { launch, open } from './sockjs_browser.mjs';

const EVENTS = 20;
/** Clients of the last do not hear that a response has broken off, nor in Node those of any but WebSockets. */
const TRANSPORTS = ['xhr-polling', 'websocket', 'jsonp-polling', 'eventsource', 'iframe-xhr-polling', 'websocket', 'htmlfile'];

const url = `http://${server.host}`;

run(async () => {
  const browser = await launch();
  const page = await open(browser, `${url}/page`);
  await page.evaluate(async (url) => {
    globalThis.client = new talk.Ddp();
    await client.connect(url, 'xhr-streaming');
    client.say({ msg: 'sub', id: 's', name: 'thread', params: ['vent.thread'] });
    await client.answer(({ msg }) => msg === 'ready');
  }, url);
  let count = 0;
  for (const transport of TRANSPORTS) {
    cutConnections();
    check('a cut is noticed', (await within('the end', page.evaluate(() => client.socket.closed))).code, 1006);
    check(`${transport} continues`, await within(transport, connect(page, transport)), { transport, isBack: true });
    count += EVENTS;
    await within('events', page.evaluate((count) => client.has(count), count));
  }
  const events = await page.evaluate(() => client.events);
  check('each event came once and in order', events, Array.from({ length: count }, (_, index) => index + 1));
  check('methods are answered', await page.evaluate(() => client.call('say')), 0);
  await browser.close();
});

/** Tries until it is let in. */
async function connect(page, transport) {
  for (;;) {
    const attempt = page.evaluate(([url, transport]) => client.connect(url, transport), [url, transport]);
    const connected = await attempt.catch(() => undefined);
    if (connected) return connected;
    await sleep(100);
  }
}
