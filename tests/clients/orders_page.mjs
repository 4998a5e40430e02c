// The page of the example `orders` in headless Chromium, at a desk and on a phone: the server is
// away and comes back, pages are loaded again without it, a tab that leads is closed, and nothing is
// missing but what the server has removed.
//
// Started as `node orders_page.mjs URL FOLDER`; screenshots go to the folder. The test is asked to
// `stop the server`, to `start the server`, to `publish LINE` and to `trim OFFSET` while it is down.

import path from 'node:path';

import { check, run, server } from './harness.mjs';
import { DESK, PHONE, launch, overflow, unreadable } from './pages.mjs';

const folder = process.argv[3];

run(async () => {
  const browser = await launch();
  const problems = [];
  const desk = await open(browser, DESK, problems);
  const phone = await open(browser, PHONE, problems);
  const both = [desk, phone];
  for (const page of both) await stands(page, 'Live');
  await shoot(both, 'first');

  await order(desk, 'Tea', 4);
  for (const page of both) await shows(page, ['Tea']);
  await order(phone, 'Cake', 7);
  for (const page of both) await shows(page, ['Cake', 'Tea']);
  check('a table is shown', await desk.textContent('#orders b'), '7');
  await kept(desk);
  await kept(phone);

  ask('stop the server');
  for (const page of both) await stands(page, 'Offline');
  await phone.reload();
  await stands(phone, 'Offline');
  await shows(phone, ['Cake', 'Tea']);
  await order(desk, 'Coffee', 1);
  await desk.locator('#waiting li').waitFor();
  await desk.reload();
  await desk.locator('#waiting li').waitFor();
  check('what is ordered offline waits', await desk.textContent('#waiting'), '1Coffeewaits');
  await stands(desk, 'Offline');
  await shoot(both, 'offline');
  const markup = '<img src=x onerror=alert()>';
  for (const n of [1, 2, 3]) ask(`publish {"item":"Soup ${n}","table":${n}}`);
  ask(`publish {"item":${JSON.stringify(markup)},"table":"${markup}"}`);
  ask('publish [1]');
  ask('start the server');
  const expected = ['Coffee', '{"value":[1]}', markup, 'Soup 3', 'Soup 2', 'Soup 1', 'Cake', 'Tea'];
  for (const page of both) {
    await shows(page, expected);
    await stands(page, 'Live');
    check('it says what it has caught up with', /^\d orders came while this page was away$/.test(await page.textContent('.note')), true);
    check('peers make no elements', await page.locator('#orders img').count(), 0);
  }
  await desk.locator('#waiting:empty').waitFor({ state: 'attached' });
  await shoot(both, 'caught-up');

  await phone.context().setOffline(true);
  await phone.reload();
  await stands(phone, 'Offline');
  await shows(phone, expected);
  await phone.context().setOffline(false);
  await stands(phone, 'Live');
  await order(phone, 'Pie', 99);
  for (const page of both) await shows(page, ['Pie', ...expected]);

  ask('stop the server');
  for (const page of both) await stands(page, 'Offline');
  for (const n of [1, 2, 3, 4]) ask(`publish {"item":"Tart ${n}","table":${n}}`);
  ask('trim 12'); // the first three of these
  ask('start the server');
  for (const page of both) {
    await stands(page, 'Live, 3 missing');
    await shows(page, ['Tart 4', 'Pie', ...expected]);
    check('and so says the list', await page.textContent('.note.bad'), '3 orders missing here: the server has removed them');
    check('in its place', await page.$$eval('#orders > li', ([...lines]) => lines.findIndex((one) => one.matches('.bad'))), 2);
  }

  // The form takes no such thing; whoever speaks to the server does not need it.
  await desk.$eval('[name=what]', (input) => input.removeAttribute('maxlength'));
  await order(desk, 'x'.repeat(81), 1);
  await desk.locator('#failed', { hasText: 'That is not on the menu' }).waitFor();
  await desk.locator('#waiting:empty').waitFor({ state: 'attached' });
  await order(desk, 'long'.repeat(20), 42);
  for (const page of both) await shows(page, ['long'.repeat(20), 'Tart 4', 'Pie', ...expected]);
  await shoot(both, 'gap');

  const second = await desk.context().newPage();
  await second.goto(server.href);
  await stands(second, 'Live');
  await desk.close();
  await order(phone, 'Water', 3);
  for (const page of [second, phone]) await shows(page, ['Water', 'long'.repeat(20), 'Tart 4', 'Pie', ...expected]);
  await phone.setViewportSize({ width: 360, height: 640 });
  check('a small phone has room for it', await overflow(phone), []);
  check('nothing went wrong, and nobody else was asked', problems, []);
  await browser.close();
}, undefined, 240_000);

async function open(browser, options, problems) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on('pageerror', (error) => problems.push(String(error)));
  context.on('request', (request) => {
    const { protocol, host } = new URL(request.url());
    if (protocol !== 'data:' && host !== server.host) problems.push(request.url());
  });
  await page.goto(server.href);
  return page;
}

function ask(wish) {
  console.log(`> ${wish}`);
}

async function order(page, what, table) {
  await page.fill('[name=what]', what);
  await page.fill('[name=table]', String(table));
  await page.press('[name=what]', 'Enter');
}

/** What a page says of where it stands. */
async function stands(page, text) {
  await page.locator('#status', { hasText: new RegExp(`^${text}$`) }).waitFor();
}

/** The orders of a page, the latest first: each once, and no other. */
async function shows(page, expected) {
  await page.locator('#orders li:not(.note)').nth(expected.length - 1).waitFor();
  check(`${expected.length} orders are shown`, await page.$$eval('#orders li:not(.note) > span', (found) => found.map(({ textContent }) => textContent)), expected);
}

/** Waits until the browser has kept the page for when there is no server. */
function kept(page) {
  return page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
}

/** Pictures in both colours, for somebody to look at; what a program can see is checked. */
async function shoot(pages, name) {
  for (const page of pages) {
    const where = page.viewportSize().width > 1000 ? 'desk' : 'phone';
    // What has just arrived is marked for a moment.
    await page.evaluate(() => Promise.all(document.getAnimations().filter(({ animationName }) => animationName === 'arrive').map(({ finished }) => finished.catch(() => {}))));
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      check(`${name}: all fits at the ${where}`, await overflow(page), []);
      check(`${name}: all can be read in ${colorScheme}`, await unreadable(page), []);
      await page.screenshot({ path: path.join(folder, `${name}-${where}-${colorScheme}.png`) });
    }
  }
}
