// Pages of headless Chromium with sockjs-client 1.6.1 in them. Names end on this machine: it is all
// of `*.example`.

import path from 'node:path';

import { load } from './harness.mjs';

const { chromium } = load('playwright-core');
const TALK = path.join(import.meta.dirname, 'sockjs_talk.js');
const CLIENT = path.join(process.env.UPDRAFT_CLIENTS, 'node_modules/sockjs-client/dist/sockjs.min.js');

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--host-resolver-rules=MAP *.example 127.0.0.1'],
  });
}

/** A page with the client, in which there can be talked; `asked` are the ends of what it has asked for. */
export async function open(browser, address) {
  const page = await (await browser.newContext()).newPage();
  page.asked = new Set();
  const note = (address) => page.asked.add(new URL(address).pathname.split('/').pop());
  page.on('request', (request) => note(request.url()));
  page.on('websocket', (socket) => note(socket.url()));
  await page.goto(address);
  for (const script of [CLIENT, TALK]) await page.addScriptTag({ path: script });
  page.talk = (what, ...parameters) => page.evaluate(([what, parameters]) => talk[what](...parameters), [what, parameters]);
  return page;
}
