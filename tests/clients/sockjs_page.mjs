// sockjs-client 1.6.1 in headless Chromium, over each transport alone.
//
// Started as `node sockjs_page.mjs URL PORT HOST`, where there are `/echo`, `/close`, `/sockjs`,
// `/page` and the client as `/sockjs.js`. The page is the server's own, or one of
// `http://HOST:PORT`, which names this machine: that of a friend, which may talk to the server, or
// of a stranger.

import http from 'node:http';

import { check, run, server, within } from './harness.mjs';
import { launch, open } from './sockjs_browser.mjs';
import { checkTransport, METEORS } from './sockjs_checks.mjs';

const [, , , port, host] = process.argv;
const url = `http://${server.host}`;

/** Each transport, and what it asks for. */
const ANYWHERE = {
  websocket: ['websocket'],
  'xhr-streaming': ['xhr_streaming'],
  eventsource: ['eventsource'],
  'iframe-eventsource': ['eventsource', 'iframe.html'],
  'iframe-htmlfile': ['htmlfile', 'iframe.html'],
  'xhr-polling': ['xhr'],
  'iframe-xhr-polling': ['iframe.html', 'xhr'],
  'jsonp-polling': ['jsonp'],
};
/** It needs no iframe page, but the origin of the server. */
const AT_HOME = { htmlfile: ['htmlfile'], ...ANYWHERE };

run(async () => {
  const browser = await launch();
  if (!host) {
    const page = await open(browser, `${url}/page`);
    for (const [transport, urls] of Object.entries(AT_HOME)) await checkAlone(page, transport, urls);
    await checkTransport(page.talk, url, METEORS, 'websocket');
  } else {
    await serveEmptyPages();
    const page = await open(browser, `http://${host}:${port}/`);
    if (host === 'stranger.example') await checkRefusals(page);
    else for (const [transport, urls] of Object.entries(ANYWHERE)) await checkAlone(page, transport, urls);
  }
  await browser.close();
});

function serveEmptyPages() {
  const pages = http.createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><title>Elsewhere</title>');
  });
  return new Promise((resolve) => pages.listen(port, '127.0.0.1', resolve));
}

async function checkAlone(page, transport, urls) {
  page.asked.clear();
  await checkTransport(page.talk, url, transport, transport);
  check(`${transport} is what was used`, urls.filter((name) => !page.asked.has(name)), []);
}

async function checkRefusals(page) {
  const unreachable = { code: 1002, reason: 'Cannot connect to server', wasClean: false };
  check('what the server can do is no business of this page', await page.talk('refusal', url, METEORS), unreachable);
  // A page that knows need not ask.
  await page.route('**/info?*', (route) => route.fulfill({
    headers: { 'Access-Control-Allow-Origin': `http://${host}:${port}`, 'Access-Control-Allow-Credentials': 'true' },
    json: { websocket: true, origins: ['*:*'], cookie_needed: false, entropy: 1 },
  }));
  const failed = { code: 2000, reason: 'All transports failed', wasClean: false };
  const refusals = Object.keys(ANYWHERE).map(async (transport) => {
    check(`${transport} is refused`, await within(transport, page.talk('refusal', url, transport)), failed);
  });
  await Promise.all(refusals);
}
