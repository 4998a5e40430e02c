// An emitter of `updraft-client` in a page of headless Chromium. The page is killed and opened
// again, again and again; it goes on behind the last event that this script has heard of.
//
// Started as `node emitters.mjs URL TARGETS PORT PACKAGE EVENTS SEED`; the page is served at that
// port. `> fired N` tells the test of an event.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';

import { check, load } from './harness.mjs';

const { chromium } = load('playwright-core');
const [, , , targets, port, folder, events, seed] = process.argv;
const bundle = await readFile(path.join(folder, 'dist/updraft-client.js'));

/** What the page's handler has done: this is its effect, and up to where it is done. */
const fired = [];
let position = '0';
let opened = 0;

const http = createServer(({ url }, response) => {
  const isScript = url.endsWith('.js');
  response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
  response.end(isScript ? bundle : '<!doctype html><title>events</title>');
});
await new Promise((listening) => http.listen(Number(port), '127.0.0.1', listening));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
});
const profile = await browser.newContext();

async function open() {
  opened += 1;
  const life = opened;
  const page = await profile.newPage();
  await page.exposeFunction('told', (number, offset) => {
    // What a page says that is gone was not done.
    if (life !== opened) return;
    fired.push(number);
    position = offset;
    console.log(`> fired ${number}`);
  });
  page.on('pageerror', (error) => console.error(error.message));
  await page.goto(`http://127.0.0.1:${port}/`);
  await page.evaluate(
    async ([targets, start]) => {
      const { Client, emitter } = await import('/updraft-client.js');
      const client = new Client({ targets, backoff: { first: 20, most: 200 } });
      window.events = emitter(client, 'events', { start });
      window.events.onEvent('n', ({ args: [number], offset }) => window.told(number, offset));
    },
    [targets, position],
  );
  return page;
}

let state = Number(seed);
function random(most) {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
  return state % most;
}

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

let page = await open();
console.log('> listening');
let kills = 0;
while (fired.at(-1) !== Number(events)) {
  await pause(100 + random(1_400));
  if (fired.at(-1) === Number(events)) break;
  opened += 1; // it is not heard any more
  await page.close({ runBeforeUnload: false });
  kills += 1;
  await pause(random(200));
  page = await open();
}
// Now one of a process: what a page triggers is heard everywhere, and here too.
const offset = await page.evaluate(() => window.events.trigger('n', 0));
while (fired.at(-1) !== 0) await pause(10);
check('the page was killed and opened again', kills > 0, true);
check('its own event fires at the position that it was told', position, offset);
await browser.close();
http.close();
