// The package as it is published: installed in an empty folder, and its page.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';

import { launch } from './support/browser.mjs';
import { FakeServer } from './support/server.mjs';
import { testAlone, until } from './support/world.mjs';

const run = promisify(execFile);
const PACKAGE = path.join(import.meta.dirname, '..');
const README = await readFile(path.join(PACKAGE, 'README.md'), 'utf8');

/** The most that the browser's file may have, gzipped. */
const MOST = 30 * 1024;

testAlone('the_file_for_browsers_is_small', async () => {
  const bytes = gzipSync(await readFile(path.join(PACKAGE, 'dist/updraft-client.js')), {
    level: 9,
  }).length;
  console.log(`${bytes} bytes, gzipped`);
  assert.ok(bytes <= MOST, `${bytes} bytes`);
  assert.ok(README.includes(`It is ${Math.round(bytes / 1024)} KB`), 'the README says how small');
});

testAlone('the_packed_package_works_in_an_empty_folder', async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'updraft-client-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  const packed = await pack(PACKAGE, folder);
  const files = packed.files.map(({ path }) => path);
  for (const file of [
    'README.md',
    'package.json',
    'dist/index.js',
    'dist/index.d.ts',
    'dist/node.js',
    'dist/updraft-client.js',
  ]) {
    assert.ok(files.includes(file), file);
  }
  assert.ok(!files.some((file) => /^(src|test|node_modules)/.test(file)), files.join());
  // What it depends on comes from what is installed here: no registry is asked.
  const { dependencies } = JSON.parse(await readFile(path.join(PACKAGE, 'package.json'), 'utf8'));
  assert.deepEqual(Object.keys(dependencies), ['idb']);
  const idb = await pack(path.join(PACKAGE, 'node_modules/idb'), folder);
  const home = path.join(folder, 'home');
  await mkdir(home);
  await writeFile(path.join(home, 'package.json'), '{"type":"module"}');
  const archives = [packed, idb].map(({ filename }) => path.join(folder, filename));
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', ...archives], { cwd: home });

  // This is the file that the pages of the tests have.
  const file = path.join(home, 'node_modules/updraft-client/dist/updraft-client.js');
  const built = await readFile(path.join(PACKAGE, 'dist/updraft-client.js'));
  assert.ok(built.equals(await readFile(file)));

  await writeFile(path.join(home, 'program.js'), PROGRAM);
  const server = await FakeServer.start();
  context.after(() => server.stop());
  const { stdout } = await run(
    process.execPath,
    ['--experimental-websocket', 'program.js', server.url],
    { cwd: home },
  );
  assert.equal(stdout.trim(), `${server.last('orders')} tea`);

  await writeFile(path.join(home, 'program.ts'), TYPED);
  await writeFile(path.join(home, 'tsconfig.json'), TSCONFIG);
  const compiler = path.join(PACKAGE, 'node_modules/typescript/bin/tsc');
  await run(process.execPath, [compiler, '--project', home]).catch((error) =>
    assert.fail(error.stdout),
  );
});

testAlone('the_page_of_the_readme_runs', async (context) => {
  const [, page] = /```html\n(.*?)```/s.exec(README);
  const bundle = await readFile(path.join(PACKAGE, 'dist/updraft-client.js'));
  const server = await FakeServer.start();
  server.answer = ({ url }, response) => {
    const isScript = url === '/updraft-client.js';
    response
      .setHeader('content-type', isScript ? 'text/javascript' : 'text/html')
      .end(isScript ? bundle : page);
  };
  const browser = await launch();
  context.after(async () => {
    await browser.close();
    await server.stop();
  });
  const tab = await browser.newPage();
  tab.setDefaultTimeout(20_000);
  const errors = [];
  tab.on('pageerror', (error) => errors.push(error.message));
  server.publish('orders', { item: 'tea' });
  await tab.goto(server.origin);
  await tab.waitForSelector('text=live');
  await tab.fill('input', 'coffee');
  await tab.click('button');
  await tab.waitForSelector('li:nth-child(2)');
  await server.stop();
  await tab.waitForSelector('text=offline');
  await tab.fill('input', 'cake');
  await tab.click('button');
  server.publish('orders', { item: 'salt' });
  await server.start();
  await tab.waitForSelector('li:nth-child(4)');
  await until('the page is live', async () => (await tab.textContent('#state')) === 'live');
  await tab.reload();
  await tab.waitForSelector('li:nth-child(4)');
  const lines = await tab.$$eval('li', (found) =>
    found.map(({ textContent }) => textContent.split(' ').at(-1)),
  );
  assert.deepEqual(lines, ['cake', 'salt', 'coffee', 'tea']);
  assert.deepEqual(errors, []);
});

/** Packs a package into a folder, without running its scripts: this one is built. */
async function pack(from, into) {
  const { stdout } = await run(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', into],
    { cwd: from },
  );
  const [packed] = Object.values(JSON.parse(stdout));
  return packed;
}

const PROGRAM = `
  import assert from 'node:assert/strict';
  import * as modules from 'updraft-client';
  import * as browser from 'updraft-client/browser';
  import { FileStorage } from 'updraft-client/node';

  assert.deepEqual(Object.keys(browser).sort(), Object.keys(modules).sort());
  const { Client } = modules;
  const client = new Client({ targets: process.argv[2], storage: new FileStorage('state') });
  const seen = new Promise((resolve) => client.on('messages', (_, messages) => resolve(messages)));
  await client.subscribe('orders');
  await client.publish('orders', { item: 'tea' });
  const [message] = await seen;
  console.log(message.offset, message.item);
  await client.close();
`;

const TYPED = `
  import { Client, type Message, recordOf, type Storage, UpdraftError } from 'updraft-client';
  import { FileStorage } from 'updraft-client/node';

  const storage: Storage = new FileStorage('state');
  const client: Client = new Client({ targets: ['localhost'], storage, decode: (it) => it });
  client.on('messages', (channel: string, messages: Message[]) => {
    const time: Date | undefined = messages[0] && recordOf(messages[0]).time;
    void [channel.length, time];
  });
  client.on('error', (error: UpdraftError) => error.code.length);
  const offset: string = await client.publish('orders', 'item', 'tea');
  const done: true = await client.subscribe('orders', { last: 3 }, { onGap: 'snapshot' });
  void [done, client.publish('orders', { item: 1 }, { key: offset, id: 'x' })];
  // @ts-expect-error There is no such event.
  client.on('nothing', () => {});
  // @ts-expect-error An offset is no number.
  void client.subscribe('orders', 7);
`;

const TSCONFIG = JSON.stringify({
  compilerOptions: {
    module: 'NodeNext',
    target: 'ES2022',
    lib: ['ES2022'],
    types: [],
    strict: true,
    noEmit: true,
  },
  files: ['program.ts'],
});
