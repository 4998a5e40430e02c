// Pages of headless Chromium with the browser's file of the package in them.

import { readFile } from 'node:fs/promises';

import { chromium } from 'playwright-core';

import { FakeServer } from './server.mjs';
import { testAlone } from './world.mjs';

const BUNDLE = new URL('../../dist/updraft-client.js', import.meta.url);
const CONTRACT = new URL('./store-contract.mjs', import.meta.url);

/** A test with a browser of its own profile, and a server that also serves its pages. */
export function testInBrowser(name, body) {
  testAlone(name, async (context) => {
    const server = await FakeServer.start();
    server.answer = answer;
    const browser = await launch();
    const profile = await browser.newContext();
    context.after(async () => {
      await browser.close();
      await server.stop();
    });
    await body({ server, profile, open: (options) => Page.open(profile, server, options) });
  });
}

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
  });
}

async function answer({ url }, response) {
  const files = { '/updraft-client.js': BUNDLE, '/store-contract.mjs': CONTRACT };
  const file = files[url];
  if (file) response.setHeader('content-type', 'text/javascript').end(await readFile(file));
  else response.setHeader('content-type', 'text/html').end('<!doctype html><title>test</title>');
}

/** A page with a client in it, as `client`, and all that it tells, as `told`. */
export class Page {
  #page;

  static async open(profile, server, { before, quota } = {}) {
    const page = new Page();
    page.#page = await profile.newPage();
    page.#page.on('pageerror', (error) => console.log(`page: ${error.stack}`));
    if (before) await page.#page.addInitScript(before);
    await page.#page.goto(server.origin);
    if (quota) {
      const devtools = await profile.newCDPSession(page.#page);
      await devtools.send('Storage.overrideQuotaForOrigin', {
        origin: server.origin,
        quotaSize: quota,
      });
    }
    await page.start();
    return page;
  }

  /** Makes a client. */
  async start() {
    await this.#page.evaluate(async () => {
      const { Client } = await import('/updraft-client.js');
      const told = [];
      const client = new Client({ backoff: { first: 5, most: 50 } });
      for (const name of [
        'connect',
        'reconnect',
        'disconnect',
        'gap',
        'reset',
        'caughtup',
        'evicted',
        'messages',
      ]) {
        client.on(name, (...parameters) => told.push([name, ...parameters]));
      }
      client.on('error', ({ code, message }) => told.push(['error', code, message]));
      Object.assign(window, { client, told, Client });
    });
  }

  /** Loads the page anew, with a new client. */
  async reload() {
    await this.#page.reload();
    await this.start();
  }

  /** Evaluates a function in the page, with one parameter. */
  do(f, parameter) {
    return this.#page.evaluate(f, parameter);
  }

  call(method, ...parameters) {
    return this.do(([method, parameters]) => client[method](...parameters), [method, parameters]);
  }

  /** The parameters of each event of a name. */
  of(name) {
    return this.do(
      (name) => told.filter(([found]) => found === name).map(([, ...parameters]) => parameters),
      name,
    );
  }

  /** The member `n` of all messages. */
  numbers() {
    return this.do(() =>
      told
        .filter(([name]) => name === 'messages')
        .flatMap(([, , messages]) => messages.map(({ n }) => n)),
    );
  }

  /** The page is gone, without a word. */
  close() {
    return this.#page.close({ runBeforeUnload: false });
  }
}
